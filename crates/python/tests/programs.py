"""Starts applications as their users do, each in its own process, and waits for their output.

A program listens on a port that the system chooses and that is read from its banner. It ends with the ``with`` block.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import amboss

from waiting import TIMEOUT, wait_until

APPS = Path(__file__).parent / "apps"

#: How applications are started: by the user's own script, or by the command.
WAYS = ["script"] + (["command"] if hasattr(amboss._amboss, "main") else [])

SCRIPT = """\
from {module} import {name} as application
from amboss import run_simple

if __name__ == "__main__":
    run_simple({host!r}, 0, application{options})
"""


def ticks(pid: int) -> int:
    """Returns the processor time that a process has used, in hundredths of a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return int(user) + int(system)


class Program:
    """A running server. ``url`` does not end with a slash."""

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
        """Returns the output so far, of standard output and standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, pattern: str) -> str:
        """Waits until the regular expression is found in the log, and returns the whole log."""

        def ask() -> Optional[str]:
            text = self.log()
            return text if re.search(pattern, text) else None

        try:
            return wait_until(ask, f"{pattern!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def connect(self) -> socket.socket:
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(TIMEOUT)
            connection.connect(self.path)
            return connection
        return socket.create_connection((self.host, self.port), TIMEOUT)

    def memory(self, what: str) -> int:
        """Returns a value of ``/proc/PID/status``, such as ``VmRSS``, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
        assert found, status
        return int(found.group(1)) * 1024

    def reset_peak(self) -> None:
        """Resets ``VmHWM``, the peak of the resident memory."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before it served:\n{self.log()}")
            return "Press CTRL+C to quit" in self.log()

        wait_until(is_ready, "the banner")
        self.banner = self.log().split("Press CTRL+C to quit")[0]
        found = re.search(r"Running on https?://([\d.]+):(\d+)", self.banner)
        if found:
            self.host, self.port = found.group(1), int(found.group(2))
            return
        found = re.search(r"Running on unix://(\S+)", self.banner)
        assert found, self.banner
        self.path = found.group(1)

    def _terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT)
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
    env: Optional[dict[str, str]] = None,
    arguments: Sequence[str] = (),
    **options: Any,
) -> Iterator[Program]:
    """Serves ``module:name``, a module of ``tests/apps`` or of another ``path``; the log is written to ``folder``.

    :param way: ``script`` or ``command``
    :param host: an address, or ``unix://path``
    :param arguments: more arguments of the command
    :param options: options of ``run_simple``
    """
    command = [sys.executable]
    if way == "script":
        module, name = target.split(":")
        script = folder / "serve.py"
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        script.write_text(SCRIPT.format(module=module, name=name, host=host, options=given), encoding="utf-8")
        command += [str(script)]
    else:
        bind = host if "://" in host else f"{host}:0"
        command += ["-m", "amboss", "--bind", bind, *_flags(options), *arguments, target]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=path, env=environment
        )
    program = Program(process, log)
    try:
        program._wait_until_ready()
        yield program
    finally:
        program._terminate()


def _flags(options: dict[str, Any]) -> list[str]:
    flags = []
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        flags += [flag] if value is True else [flag, str(value)]
    return flags
