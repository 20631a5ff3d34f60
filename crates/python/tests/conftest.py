"""Shared fixtures: servers in this process, scripts in their own processes, the log, deadlines."""

import faulthandler
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional
from wsgiref.validate import validator

import amboss
import pytest

from client import Client
from greenlets import GREENLETS, THREAD_OPTIONS
from waiting import TIMEOUT, wait_until

# A shell starts background jobs with SIGINT ignored, and `nohup` with SIGHUP ignored, and programs inherit that.
# Programs under test must handle these signals as in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Settings of the environment for colours, caches and proxies must not affect servers on the loopback interface.
for name in list(os.environ):
    if name.lower().endswith("_proxy") or name in ("FORCE_COLOR", "PYTHON_COLORS", "PYTHONPYCACHEPREFIX"):
        del os.environ[name]

# The deadline of a test, in seconds. A test that hangs prints its stack and ends the run.
DEADLINE = 120.0


@pytest.fixture(autouse=True)
def deadline(request: Any, pytestconfig: Any) -> Iterator[None]:
    takes = request.node.get_closest_marker("takes")
    faulthandler.dump_traceback_later(takes.args[0] if takes else DEADLINE, exit=True, file=pytestconfig.uncaptured)
    yield
    faulthandler.cancel_dump_traceback_later()


class Gate:
    """Blocks an application until the test opens the gate."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self) -> bool:
        return self._event.wait(TIMEOUT)

    def open(self) -> None:
        self._event.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


class Log:
    """What this process writes to standard error, including the server's log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text("utf-8", "replace")

    def wait_for(self, part: str) -> str:
        wait_until(lambda: part in self.text)
        return self.text


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    path = tmp_path / "standard-error"
    # pytest's own capture loses output that is written while the capture is read.
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
    # wsgiref's validator reports errors like this. pytest reports its complaint about iterators that are not closed.
    for word in ("AssertionError", "WSGIWarning"):
        assert word not in log.text


class RunningServer:
    """A server that runs in a thread of this process."""

    def __init__(self, server: amboss.BaseWSGIServer) -> None:
        self.server = server
        self.raised: Optional[BaseException] = None
        self.clients: list[Client] = []
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
        """Sends one request on a new connection and reads the response."""
        with self.client() as client:
            return client.get(*arguments, **more)

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.server.shutdown()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive(), "the server did not stop"


@pytest.fixture
def serve(log: Log) -> Iterator[Callable[..., RunningServer]]:
    """Serves an application on a free port: ``serve(app, validate=True, **options of make_server)``.

    Every application is wrapped in ``wsgiref.validate``, which must not complain. With ``validate=False`` the server
    sees the application's result itself: the validator hides lists and file wrappers from it.
    """
    running: list[RunningServer] = []

    def start(app: Any, validate: bool = True, **options: Any) -> RunningServer:
        if GREENLETS is not None and not THREAD_OPTIONS & options.keys():
            options["worker_class"] = GREENLETS
        served = RunningServer(amboss.make_server("127.0.0.1", 0, validator(app) if validate else app, **options))
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()


class Script:
    """A Python program in its own process."""

    def __init__(self, path: Path, arguments: list[str], environment: dict) -> None:
        self.watch([sys.executable, "-u", str(path), *arguments], environment, path.parent)

    def watch(self, command: list[str], environment: dict, folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=str(folder),
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
        """Waits until the program has printed ``part``."""
        wait_until(lambda: part in self.out + self.err or not self.is_running() or None)
        assert part in self.out + self.err, f"out: {self.out}\nerr: {self.err}"
        return self.out + self.err

    @property
    def port(self) -> int:
        """The port in the program's banner."""
        self.wait_for(" * Running on ")
        # The banner of a wildcard address begins with a line without a port.
        found = wait_until(lambda: re.search(r" \* Running on \S+:(\d+)/?\n", self.out + self.err))
        return int(found[1])

    def client(self, **arguments: Any) -> Client:
        return Client(("127.0.0.1", self.port), **arguments)

    def get(self, *arguments: Any, **more: Any) -> Any:
        with self.client() as client:
            return client.get(*arguments, **more)

    def is_running(self) -> bool:
        if self.process.poll() is None:
            return True
        for reader in self._readers:
            reader.join(TIMEOUT)
        return False

    def interrupt(self) -> None:
        """Sends CTRL+C."""
        self.process.send_signal(signal.SIGINT)

    def wait_for_exit(self, seconds: float = TIMEOUT) -> int:
        """Waits until the program exits; returns its exit code."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(TIMEOUT)
        return code


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Starts a program with ``script(text, *arguments, **environment)``, and ends it after the test."""
    started: list[Script] = []

    def start(text: str, *arguments: str, **environment: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(text))
        started.append(Script(path, list(arguments), environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(TIMEOUT)
        for reader in one._readers:
            reader.join(TIMEOUT)


def pytest_configure(config: Any) -> None:
    # When the deadline passes, descriptor 2 may be the `log` of a test.
    config.uncaptured = os.dup(2)
