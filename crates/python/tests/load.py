"""Clients for a server that is being reloaded or stopped: continuous load, and single requests in the background."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from client import Response
from commands import CommandServer
from waiting import TIMEOUT, wait_until


class KeepAliveClient:
    """A client that keeps its connection open."""

    def __init__(self, running: CommandServer) -> None:
        self._running = running
        self._connection: Optional[http.client.HTTPConnection] = None

    def get(self, target: str) -> bytes:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._running.host, self._running.port, timeout=TIMEOUT)
            self._connection.connect()
            # If the server has closed the connection, the next request must fail rather than reconnect.
            self._connection.auto_open = 0
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, f"{response.status}: {body[:200]!r}"
        if response.will_close:
            self.close()
        return body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Load:
    """Clients that send requests continuously and record failures."""

    def __init__(
        self, running: CommandServer, clients: int, each: float, targets: Sequence[str] = ("/",), keep: bool = True
    ) -> None:
        """Each client sends a request every ``each`` seconds: the first client to the first target, and so on.

        :param keep: whether two of three clients keep their connection open
        """
        self.failures: list[Failure] = []
        self.completed = {target: 0 for target in targets}
        self._running = running
        self._each = each
        self._keep = keep
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(index, targets[min(index, len(targets) - 1)]), daemon=True)
            for index in range(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def _ask(self, index: int, target: str) -> None:
        client = KeepAliveClient(self._running)
        due = time.monotonic()
        while not self._stopped.is_set():
            if index % 3 == 2 or not self._keep:
                client.close()
            began = time.monotonic()
            try:
                client.get(target)
            except Exception as error:
                client.close()
                with self._lock:
                    self.failures.append(Failure(target, began, time.monotonic(), repr(error)))
            with self._lock:
                self.completed[target] += 1
            due += self._each
            self._stopped.wait(max(0.0, due - time.monotonic()))
        client.close()

    @property
    def answered(self) -> int:
        """The number of requests that have ended."""
        return sum(self.completed.values())

    def wait_for_more(self, count: int) -> None:
        """Waits until ``count`` more requests have ended."""
        until = self.answered + count
        self._running.wait_until(lambda: self.answered >= until, f"{count} more responses")

    def wait_for_more_of(self, target: str, count: int) -> None:
        """Waits until ``count`` more requests to one target have ended."""
        until = self.completed[target] + count
        self._running.wait_until(lambda: self.completed[target] >= until, f"{count} more responses to {target}")


class Failure(NamedTuple):
    """A request that failed, with its begin and its end."""

    target: str
    began: float
    ended: float
    why: str


class BackgroundRequest(threading.Thread):
    """A request that runs in a background thread."""

    def __init__(self, server: CommandServer, target: str) -> None:
        super().__init__(daemon=True)
        self._server, self._target = server, target
        self.response: Optional[Response] = None
        self.error: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        try:
            self.response = self._server.get(self._target)
        except Exception as error:
            self.error = error

    def json(self) -> Any:
        """Waits for the response and parses it."""
        self.join(TIMEOUT)
        failure = (self.response, self.error, self._server.log())
        assert self.response is not None and self.response.status == 200, failure
        return json.loads(self.response.body)


def wait_for_request(folder: Path) -> int:
    """Waits until a request runs in the application; returns the process that runs it."""
    found = wait_until(lambda: list(folder.glob("waiting-*")), "the request to run")
    return int(found[0].name.partition("-")[2])


def release_requests(folder: Path) -> None:
    """Lets the requests that wait for this directory continue."""
    (folder / "go-on").touch()
