"""Starts the command in the ways that it can be started, and scripts that reload themselves: servers of several
processes, in a session of their own, as in a terminal of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

from client import Answer, Client
from programs import APPS, Program, wait_for

#: The command as a program of its own, where it was built.
BINARY = os.environ.get("AMBOSS_TEST_COMMAND")

#: How the command is started: as a module, and as what pip has installed.
MODULE = [sys.executable, "-m", "amboss"]
INSTALLED = [str(Path(sys.executable).with_name("amboss"))]

#: What is answered by anything that has no other news than itself.
APP = """
import os

VERSION = {version!r}

def {name}(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{VERSION}} {{os.getpid()}}".encode()]
"""


def app(version: str, name: str = "app") -> str:
    """The text of a module whose application answers with the version and its process's number."""
    return APP.format(version=version, name=name)


class Folder:
    """Where a program lies that is worked on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, text: str) -> Path:
        """At once: nobody sees half of it."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}~")
        beside.write_text(textwrap.dedent(text), encoding="utf-8")
        beside.replace(path)
        return path


class Running(Program):
    """A server, and the processes that it consists of."""

    def signal(self, name: str, pid: Optional[int] = None) -> None:
        os.kill(pid or self.pid, getattr(signal, name))

    def interrupt(self) -> None:
        """CTRL+C: a terminal sends it to everybody in its foreground."""
        os.killpg(self.pid, signal.SIGINT)

    def client(self, **more: Any) -> Client:
        return Client((self.host, self.port), **more)

    def get(self, target: str = "/", **more: Any) -> Answer:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.get(target, **more)

    def json(self, target: str = "/") -> Any:
        answer = self.get(target)
        assert answer.status == 200, f"{answer}\n{self.log()}"
        return json.loads(answer.body)

    def version(self) -> Tuple[str, int]:
        """What :func:`app` says: the version, and the process that serves it."""
        answer = self.get()
        if answer.status != 200:
            return str(answer.status), 0
        version, pid = answer.body.decode().rsplit(" ", 1)
        return version, int(pid)

    def serves(self, version: str) -> int:
        """Waits until it serves this version; the process that does."""
        return self._wait(f"{version!r} to be served", lambda: self._pid_of(version))

    def _pid_of(self, version: str) -> Optional[int]:
        served, pid = self.version()
        return pid if served == version else None

    def workers(self, count: int) -> List[int]:
        """Waits until so many processes serve; which."""

        def ask() -> Optional[List[int]]:
            workers = children(self.pid)
            return workers if len(workers) == count else None

        return self._wait(f"{count} workers", ask)

    def processes(self) -> List[int]:
        """All its processes that are alive."""
        return [pid for pid, (_, session) in alive().items() if session == self.pid]

    def ended(self) -> int:
        """Waits for its end; its exit code. Nothing of it may be left."""
        self._wait("its end", lambda: self.process.poll() is not None)
        code = self.process.returncode
        self._wait("the end of its processes", lambda: not self.processes())
        return code

    def end(self) -> None:
        """Ends all of it, however it is."""
        self._end()
        for pid in self.processes():
            # Only what was started here is in its session.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def eventually(self, what: str, ask: Callable[[], Any]) -> Any:
        return self._wait(what, ask)

    def _wait(self, what: str, ask: Callable[[], Any]) -> Any:
        try:
            return wait_for(what, ask)
        except AssertionError as error:
            lines = [line for line in self.log().splitlines() if ' HTTP/1.1" ' not in line]
            raise AssertionError("\n".join([str(error), *lines])) from None


@contextlib.contextmanager
def serving_command(folder: Path, *arguments: str, **more: Any) -> Iterator[Running]:
    """``amboss`` on a free port, started in a folder; what it says goes to a file beside that."""
    with serving_words(["--bind", "127.0.0.1:0", *arguments], folder, **more) as started:
        yield started


def serving_processes(folder: Path, *arguments: str) -> ContextManager[Running]:
    """The application of ``apps/processes.py``, started in another folder."""
    return serving_command(folder, *arguments, "processes:application", env={"PYTHONPATH": str(APPS)})


@contextlib.contextmanager
def serving_words(words: List[str], folder: Path, **more: Any) -> Iterator[Running]:
    """The command with exactly these words, or something else with them; see :func:`start`."""
    started = start(words, folder, **more)
    try:
        started._wait_until_ready()
        yield started
    finally:
        started.end()


def start(
    words: List[str], folder: Path, way: Optional[List[str]] = None, env: Optional[Dict[str, str]] = None
) -> Running:
    """Starts the command, or ``way`` instead of it; in a session of its own."""
    surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    surroundings["PYTHONDONTWRITEBYTECODE"] = "1"
    surroundings.update(env or {})
    log = folder.parent / f"{folder.name}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*(way or MODULE), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env=surroundings,
            start_new_session=True,
        )
    return Running(process, log)


def run(words: List[str], folder: Path, *more: Any, **others: Any) -> Tuple[int, str]:
    """Runs the command to its end; its exit code, and what it said."""
    started = start(words, folder, *more, **others)
    try:
        return started.ended(), started.log()
    finally:
        started.end()


def alive() -> Dict[int, Tuple[int, int]]:
    """Every process but the zombies: its parent, and its session."""
    if not os.path.exists("/proc/self/stat"):
        command = ["ps", "-A", "-o", "pid=,ppid=,sess=,stat="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line.split() for line in listed.stdout.splitlines()]
        return {int(pid): (int(parent), int(session)) for pid, parent, session, state in lines if state[0] != "Z"}
    found = {}
    for name in os.listdir("/proc"):
        # Some end meanwhile.
        with contextlib.suppress(OSError):
            if name.isdigit():
                state, parent, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()[:4]
                if state != "Z":
                    found[int(name)] = (int(parent), int(session))
    return found


def children(parent: int) -> List[int]:
    """The processes that another has started."""
    return sorted(pid for pid, (its, _) in alive().items() if its == parent)


def is_alive(pid: int) -> bool:
    return pid in alive()


def is_free(port: int) -> bool:
    """Could somebody else listen there?"""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
