"""Starts the command in all of its forms, and scripts that reload themselves.

Each server may consist of several processes. It runs in its own session, as in a terminal of its own.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, ContextManager, Optional

from client import Client, Response
from programs import APPS, Program
from waiting import wait_until

#: The command as a binary, if it was built.
BINARY = os.environ.get("AMBOSS_TEST_COMMAND")

#: The command as a module, and as the script that pip installs.
MODULE = [sys.executable, "-m", "amboss"]
INSTALLED = [str(Path(sys.executable).with_name("amboss"))]

#: An application that responds with its version and its process.
APP = """
import os

VERSION = {version!r}

def {name}(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{VERSION}} {{os.getpid()}}".encode()]
"""


def app(version: str, name: str = "app") -> str:
    """Returns the source of a module whose application responds with the version and its process ID."""
    return APP.format(version=version, name=name)


class Folder:
    """The directory of a program that is being edited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, text: str) -> Path:
        """Writes a file atomically, so that no reader sees a part of it."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}~")
        temporary.write_text(textwrap.dedent(text), encoding="utf-8")
        temporary.replace(path)
        return path


class CommandServer(Program):
    """A server and all of its processes."""

    def signal(self, name: str, pid: Optional[int] = None) -> None:
        os.kill(pid or self.pid, getattr(signal, name))

    def interrupt(self) -> None:
        """Sends CTRL+C as a terminal does: to all processes in the foreground."""
        os.killpg(self.pid, signal.SIGINT)

    def client(self, **more: Any) -> Client:
        return Client((self.host, self.port), **more)

    def get(self, target: str = "/", **more: Any) -> Response:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.get(target, **more)

    def json(self, target: str = "/") -> Any:
        response = self.get(target)
        assert response.status == 200, f"{response}\n{self.log()}"
        return json.loads(response.body)

    def version(self) -> tuple[str, int]:
        """Returns what :func:`app` responds with: the version, and the process that serves it."""
        response = self.get()
        if response.status != 200:
            return str(response.status), 0
        version, pid = response.body.decode().rsplit(" ", 1)
        return version, int(pid)

    def wait_for_version(self, version: str) -> int:
        """Waits until this version is served; returns the process that serves it."""
        return self.wait_until(lambda: self._pid_of(version), f"{version!r} to be served")

    def _pid_of(self, version: str) -> Optional[int]:
        served, pid = self.version()
        return pid if served == version else None

    def wait_for_workers(self, count: int) -> list[int]:
        """Waits until there are ``count`` workers; returns their processes."""

        def ask() -> Optional[list[int]]:
            workers = children(self.pid)
            return workers if len(workers) == count else None

        return self.wait_until(ask, f"{count} workers")

    def processes(self) -> list[int]:
        """Returns all processes of the server that are alive."""
        return [pid for pid, (_, session) in alive().items() if session == self.pid]

    def wait_for_exit(self) -> int:
        """Waits until all processes have ended; returns the exit code."""
        self.wait_until(lambda: self.process.poll() is not None, "the end of the process")
        code = self.process.returncode
        self.wait_until(lambda: not self.processes(), "the end of all processes")
        return code

    def terminate(self) -> None:
        """Ends all processes, whatever state they are in."""
        self._terminate()
        for pid in self.processes():
            # The session contains only processes that this server has started.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits for a condition; the failure shows the log without the access log."""
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            lines = [line for line in self.log().splitlines() if ' HTTP/1.1" ' not in line]
            raise AssertionError("\n".join([str(error), *lines])) from None


@contextlib.contextmanager
def serving_command(folder: Path, *arguments: str, **more: Any) -> Iterator[CommandServer]:
    """Runs ``amboss`` on a free port in a directory; its output goes to a file next to the directory."""
    with serving_words(["--bind", "127.0.0.1:0", *arguments], folder, **more) as started:
        yield started


def serving_processes(folder: Path, *arguments: str) -> ContextManager[CommandServer]:
    """Runs the application of ``apps/processes.py`` in another directory."""
    return serving_command(folder, *arguments, "processes:application", env={"PYTHONPATH": str(APPS)})


@contextlib.contextmanager
def serving_words(words: list[str], folder: Path, **more: Any) -> Iterator[CommandServer]:
    """Runs the command with exactly these arguments; see :func:`start`."""
    started = start(words, folder, **more)
    try:
        started._wait_until_ready()
        yield started
    finally:
        started.terminate()


def start(
    words: list[str], folder: Path, way: Optional[list[str]] = None, env: Optional[dict[str, str]] = None
) -> CommandServer:
    """Starts the command, or the program ``way`` instead of it, in a new session."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.update(env or {})
    log = folder.parent / f"{folder.name}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*(way or MODULE), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    return CommandServer(process, log)


def run(words: list[str], folder: Path, *more: Any, **others: Any) -> tuple[int, str]:
    """Runs the command until it exits; returns the exit code and the output."""
    started = start(words, folder, *more, **others)
    try:
        return started.wait_for_exit(), started.log()
    finally:
        started.terminate()


def alive() -> dict[int, tuple[int, int]]:
    """Returns all processes except zombies, with the parent and the session of each."""
    if not os.path.exists("/proc/self/stat"):
        command = ["ps", "-A", "-o", "pid=,ppid=,sess=,stat="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line.split() for line in listed.stdout.splitlines()]
        return {int(pid): (int(parent), int(session)) for pid, parent, session, state in lines if state[0] != "Z"}
    found = {}
    for name in os.listdir("/proc"):
        # Some processes end in the meantime.
        with contextlib.suppress(OSError):
            if name.isdigit():
                state, parent, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()[:4]
                if state != "Z":
                    found[int(name)] = (int(parent), int(session))
    return found


def children(parent: int) -> list[int]:
    """Returns the child processes of a process."""
    return sorted(pid for pid, (its, _) in alive().items() if its == parent)


def is_alive(pid: int) -> bool:
    return pid in alive()


def is_free(port: int) -> bool:
    """Whether the port can be bound."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
