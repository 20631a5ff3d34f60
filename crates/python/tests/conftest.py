"""What the tests share: servers in this process and in scripts of their own, clients, the log, deadlines."""

import faulthandler
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional
from wsgiref.validate import validator

import pytest

import amboss
from client import PATIENCE, Client

# A shell that runs something in the background has it ignore SIGINT, `nohup` has it ignore SIGHUP, and whatever it starts
# does as well; programs under test are to take them as they do in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What the surroundings say about colours, caches and proxies is not for servers on the loopback.
for name in list(os.environ):
    if name.lower().endswith("_proxy") or name in ("FORCE_COLOR", "PYTHON_COLORS", "PYTHONPYCACHEPREFIX"):
        del os.environ[name]

# Seconds for a whole test: one that hangs shows where, and ends the run.
DEADLINE = 120.0


@pytest.fixture(autouse=True)
def deadline(request: Any, pytestconfig: Any) -> Iterator[None]:
    takes = request.node.get_closest_marker("takes")
    faulthandler.dump_traceback_later(takes.args[0] if takes else DEADLINE, exit=True, file=pytestconfig.uncaptured)
    yield
    faulthandler.cancel_dump_traceback_later()


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Waits until something is so, and returns what it is."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


class Gate:
    """Holds an application back until the test has seen what it wanted to see."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self) -> bool:
        return self._event.wait(PATIENCE)

    def open(self) -> None:
        self._event.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


class Log:
    """What the process writes to its standard error, the server's log included."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text("utf-8", "replace")

    def wait_for(self, part: str) -> str:
        eventually(lambda: part in self.text)
        return self.text


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    path = tmp_path / "standard-error"
    # pytest's own capture loses what is written while it is being read.
    with open(path, "a", encoding="utf-8") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
    log = Log(path)
    try:
        yield log
    finally:
        os.dup2(before, 2)
        os.close(before)
        sys.stderr.write(log.text)
    # wsgiref's validator complains by these; what it says when an iterator is not closed, pytest sees.
    for word in ("AssertionError", "WSGIWarning"):
        assert word not in log.text


class Served:
    """A server that is serving in a thread of this process."""

    def __init__(self, server: amboss.BaseWSGIServer) -> None:
        self.server = server
        self.raised: Optional[BaseException] = None
        self.clients: List[Client] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self.server.serve_forever()
        except BaseException as error:
            self.raised = error

    @property
    def port(self) -> int:
        return self.server.port

    def client(self, **arguments: Any) -> Client:
        client = Client(("127.0.0.1", self.port), **arguments)
        self.clients.append(client)
        return client

    def get(self, *arguments: Any, **more: Any) -> Any:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.get(*arguments, **more)

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.server.shutdown()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the server does not stop"


@pytest.fixture
def serve(log: Log) -> Iterator[Callable[..., Served]]:
    """Serves an application on a free port: ``serve(app, validate=True, **options of make_server)``.

    ``wsgiref.validate`` stands around every application, and has to stay silent, unless a test says otherwise: between
    the server and a list or file wrapper it hides what they are.
    """
    running: List[Served] = []

    def start(app: Any, validate: bool = True, **options: Any) -> Served:
        served = Served(amboss.make_server("127.0.0.1", 0, validator(app) if validate else app, **options))
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()


class Script:
    """A Python program in a process of its own."""

    def __init__(self, path: Path, arguments: List[str], environment: dict) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=str(path.parent),
        )
        self.out = ""
        self.err = ""
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((self.process.stdout, "out"), (self.process.stderr, "err"))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, name: str) -> None:
        for line in stream:
            setattr(self, name, getattr(self, name) + line.decode("utf-8", "replace"))

    def wait_for(self, part: str) -> str:
        """Waits until it has printed something."""
        eventually(lambda: part in self.out + self.err or not self.is_running() or None)
        assert part in self.out + self.err, f"out: {self.out}\nerr: {self.err}"
        return self.out + self.err

    @property
    def port(self) -> int:
        """The port that its banner names."""
        mark = " * Running on "
        text = self.wait_for(mark)
        eventually(lambda: "\n" in (self.out + self.err).partition(mark)[2])
        text = (self.out + self.err).partition(mark)[2].splitlines()[0]
        return int(text.rpartition(":")[2].rstrip("/"))

    def client(self, **arguments: Any) -> Client:
        return Client(("127.0.0.1", self.port), **arguments)

    def get(self, *arguments: Any, **more: Any) -> Any:
        with self.client() as client:
            return client.get(*arguments, **more)

    def is_running(self) -> bool:
        if self.process.poll() is None:
            return True
        for reader in self._readers:
            reader.join(PATIENCE)
        return False

    def interrupt(self) -> None:
        """CTRL+C."""
        self.process.send_signal(signal.SIGINT)

    def ended(self, seconds: float = PATIENCE) -> int:
        """Waits for its end; its exit code."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Starts a program: ``script(text, *arguments, **environment)``; ended after the test."""
    started: List[Script] = []

    def start(text: str, *arguments: str, **environment: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(text))
        started.append(Script(path, list(arguments), environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(PATIENCE)
        for reader in one._readers:
            reader.join(PATIENCE)


def pytest_configure(config: Any) -> None:
    # The `log` of a test may be there instead when its deadline passes.
    config.uncaptured = os.dup(2)
