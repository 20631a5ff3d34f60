"""Starts applications the way their users do, each in a process of its own, and waits for what it says.

A program listens on a port that the system picks, is read from its banner, and ends with the ``with`` block.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, TypeVar

import amboss
from client import PATIENCE

APPS = Path(__file__).parent / "apps"

#: A script of the user's own, and the command.
WAYS = ["script"] + (["command"] if hasattr(amboss._amboss, "main") else [])

SCRIPT = """\
from {module} import {name} as application
from amboss import run_simple

if __name__ == "__main__":
    run_simple({host!r}, 0, application{options})
"""

T = TypeVar("T")


def wait_for(what: str, ask: Callable[[], T], patience: float = PATIENCE) -> T:
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(0.01)


def ticks(pid: int) -> int:
    """Processor time of a process so far, in hundredths of a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return int(user) + int(system)


class Program:
    """A running server; ``url`` has no slash at its end."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log
        self.banner = ""
        self.host = ""
        self.port = 0
        self.path = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def log(self) -> str:
        """What it has written so far, standard output and standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, pattern: str) -> str:
        """Waits until the regular expression is found in the log, and returns the whole log."""

        def ask() -> Optional[str]:
            text = self.log()
            return text if re.search(pattern, text) else None

        try:
            return wait_for(f"{pattern!r} in the log", ask)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def connect(self) -> socket.socket:
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            connection.connect(self.path)
            return connection
        return socket.create_connection((self.host, self.port), PATIENCE)

    def memory(self, what: str) -> int:
        """Bytes of a line of ``/proc/PID/status``, such as ``VmRSS``."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
        assert found, status
        return int(found.group(1)) * 1024

    def forget_peak(self) -> None:
        """Has the system begin anew with ``VmHWM``, the most that was resident at any time."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _wait_until_ready(self) -> None:
        def ask() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before it served:\n{self.log()}")
            return "Press CTRL+C to quit" in self.log()

        wait_for("the banner", ask)
        self.banner = self.log().split("Press CTRL+C to quit")[0]
        found = re.search(r"Running on https?://([\d.]+):(\d+)", self.banner)
        if found:
            self.host, self.port = found.group(1), int(found.group(2))
            return
        found = re.search(r"Running on unix://(\S+)", self.banner)
        assert found, self.banner
        self.path = found.group(1)

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def serving(
    target: str,
    folder: Path,
    way: str = "script",
    *,
    host: str = "127.0.0.1",
    path: Path = APPS,
    env: Optional[Dict[str, str]] = None,
    **options: Any,
) -> Iterator[Program]:
    """Serves ``module:name``, a module of ``tests/apps`` or of another ``path``; ``folder`` is for the log.

    :param way: ``script`` or ``command``
    :param host: an address, or ``unix://path``
    :param options: what ``run_simple`` takes
    """
    module, name = target.split(":")
    arguments = [sys.executable]
    if way == "script":
        script = folder / "serve.py"
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        script.write_text(SCRIPT.format(module=module, name=name, host=host, options=given), encoding="utf-8")
        arguments += [str(script)]
    else:
        bind = host if "://" in host else f"{host}:0"
        arguments += ["-m", "amboss", "--bind", bind, *_flags(options), target]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    surroundings = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=path, env=surroundings
        )
    program = Program(process, log)
    try:
        program._wait_until_ready()
        yield program
    finally:
        program._end()


def _flags(options: Dict[str, Any]) -> List[str]:
    flags = []
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        flags += [flag] if value is True else [flag, str(value)]
    return flags
