"""A script that fails before it serves: its supervisor learns which files it consists of nevertheless."""

import atexit
import os
import struct
import sys

#: What supervisor and child agree on: see the control socket of amboss-reload.
FILES = b"F"
LONGEST_PAYLOAD = 128 * 1024

_serves = False


def expect() -> None:
    """To be called as early as possible."""
    # What this process starts in its turn finds the same environment, and nothing behind the numbers in it.
    supervisor = os.environ.get("AMBOSS_SUPERVISOR", "").split(" ")[0]
    if os.environ.get("AMBOSS_RELOADING") and os.environ.get("AMBOSS_CONTROL_FD") and supervisor == str(os.getppid()):
        atexit.register(_report)


def serves() -> None:
    """From now on the server reports."""
    global _serves
    _serves = True


def taken_over() -> None:
    """What the supervisor has passed on has other numbers by now.

    The application may start a server in its turn, which is not to look for them.
    """
    if os.environ.pop("AMBOSS_SERVER_FD", None) is not None:
        for name in ("AMBOSS_CONTROL_FD", "LISTEN_FDS", "LISTEN_PID"):
            os.environ.pop(name, None)


def _report() -> None:
    if _serves:
        return
    from ._modules import Reporter

    reporter = Reporter()
    files = reporter.new_files()
    error = getattr(sys, "last_value", None)
    if error is not None:
        files += reporter.files_of(error)
    payload = b"\0".join(os.fsencode(path) for path in sorted(set(files)))
    if len(payload) > LONGEST_PAYLOAD:
        payload = payload[: payload.rindex(b"\0", 0, LONGEST_PAYLOAD)]
    try:
        os.write(int(os.environ["AMBOSS_CONTROL_FD"]), FILES + struct.pack(">I", len(payload)) + payload)
    except (OSError, ValueError):
        pass  # the supervisor is gone, or the socket is somebody else's by now
