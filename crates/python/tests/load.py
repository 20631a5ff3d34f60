"""Clients of a server that something happens to: many that ask all the time, and one that waits for its answer."""

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence

from client import Answer
from commands import Running
from programs import PATIENCE, wait_for


class Keeping:
    """A client that keeps its connection, and notes what goes wrong."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._connection: Optional[http.client.HTTPConnection] = None

    def get(self, target: str) -> bytes:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._running.host, self._running.port, timeout=PATIENCE)
            self._connection.connect()
            # A connection that was closed is to be seen, not to be opened again in silence.
            self._connection.auto_open = 0
        self._connection.request("GET", target)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{answer.status}: {body[:200]!r}"
        if answer.will_close:
            self.close()
        return body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Load:
    """Clients that ask all the time, and note what goes wrong: some keep their connection, some do not."""

    def __init__(
        self, running: Running, clients: int, each: float, targets: Sequence[str] = ("/",), keep: bool = True
    ) -> None:
        """Each client asks every ``each`` seconds; the first of them for the first target, and so on.

        :param keep: two of three keep their connection
        """
        self.failures: List[Failure] = []
        self.asked = {target: 0 for target in targets}
        self._running = running
        self._each = each
        self._keep = keep
        self._over = threading.Event()
        self._noting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(index, targets[min(index, len(targets) - 1)]), daemon=True)
            for index in range(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, index: int, target: str) -> None:
        client = Keeping(self._running)
        due = time.monotonic()
        while not self._over.is_set():
            if index % 3 == 2 or not self._keep:
                client.close()
            began = time.monotonic()
            try:
                client.get(target)
            except Exception as error:
                client.close()
                with self._noting:
                    self.failures.append(Failure(target, began, time.monotonic(), repr(error)))
            with self._noting:
                self.asked[target] += 1
            due += self._each
            self._over.wait(max(0.0, due - time.monotonic()))
        client.close()

    @property
    def answered(self) -> int:
        """Requests that have come to an end."""
        return sum(self.asked.values())

    def more(self, count: int) -> None:
        """Waits for so many more of them."""
        until = self.answered + count
        self._running.eventually(f"{count} more answers", lambda: self.answered >= until)

    def more_of(self, target: str, count: int) -> None:
        """The same for one target."""
        until = self.asked[target] + count
        self._running.eventually(f"{count} more answers of {target}", lambda: self.asked[target] >= until)


class Failure(NamedTuple):
    """A request that failed, and when."""

    target: str
    began: float
    ended: float
    why: str


class Asked(threading.Thread):
    """A request that takes its time."""

    def __init__(self, server: Running, target: str) -> None:
        super().__init__(daemon=True)
        self._server, self._target = server, target
        self.answer: Optional[Answer] = None
        self.error: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._server.get(self._target)
        except Exception as error:
            self.error = error

    def json(self) -> Any:
        """Waits for it."""
        self.join(PATIENCE)
        assert self.answer is not None and self.answer.status == 200, (self.answer, self.error, self._server.log())
        return json.loads(self.answer.body)


def wait_for_request(folder: Path) -> int:
    """Waits until a request is in the application; in which process."""
    found = wait_for("the request to run", lambda: list(folder.glob("waiting-*")))
    return int(found[0].name.partition("-")[2])


def go_on(folder: Path) -> None:
    """Lets requests that wait in this folder go on."""
    (folder / "go-on").touch()
