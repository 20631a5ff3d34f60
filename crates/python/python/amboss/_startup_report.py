"""What a supervisor's child does as early as possible.

A script that fails before it serves tells its supervisor which files it consists of. What the environment says of this
process is kept from the processes that it starts.
"""

import atexit
import os
import struct
import sys
from typing import Dict, Optional

#: What supervisor and child agree on: see the control socket of amboss-reload.
FILES = b"F"
LONGEST_PAYLOAD = 128 * 1024

_serves = False


def expect() -> None:
    """To be called as early as possible."""
    _keep_from_children()
    # What this process starts in its turn finds the same environment, and nothing behind the numbers in it.
    supervisor = os.environ.get("AMBOSS_SUPERVISOR", "").split(" ")[0]
    if os.environ.get("AMBOSS_RELOADING") and os.environ.get("AMBOSS_CONTROL_FD") and supervisor == str(os.getppid()):
        atexit.register(_report)
        from ._modules import note_imports

        note_imports()


def serves() -> None:
    """From now on the server reports."""
    global _serves
    _serves = True


#: Werkzeug takes this process for its own reloader's child, see ``werkzeug.serving.is_running_from_reloader``: its server
#: would listen on the descriptor then.
RUN_MAIN = b"WERKZEUG_RUN_MAIN"
SERVER_FD = b"WERKZEUG_SERVER_FD"

#: Variables that concern this process alone.
_only_here: Dict[bytes, bytes] = {}


class _Environment(Dict[bytes, bytes]):
    """The data of ``os.environ``, where some variables can be looked up and are not listed.

    So a process that is started with this one's environment, as it is or in a copy, doesn't have them.
    """

    def __missing__(self, key: bytes) -> bytes:
        return _only_here[key]

    def __delitem__(self, key: bytes) -> None:
        if _only_here.pop(key, None) is None or key in self:
            super().__delitem__(key)


def _keep_from_children() -> None:
    """Keeps Werkzeug's variables from the processes that this one starts.

    ``flask run`` would take itself for a reloader's child there, and listen on a descriptor that it does not have.
    """
    if not (os.environ.get("AMBOSS_RELOADING") and os.environ.get("AMBOSS_SERVER_FD")) or _only_here:
        return
    for name in (RUN_MAIN, SERVER_FD):
        value = os.environb.pop(name, None)
        if value is not None:
            _only_here[name] = value
    data = _Environment(os.environb._data)  # type: ignore[attr-defined]
    os.environb._data = os.environ._data = data  # type: ignore[attr-defined]


def taken_over(server_fd: Optional[int]) -> None:
    """What the supervisor has passed on has other numbers by now: the first listening socket has ``server_fd``.

    The application may start a server in its turn, which is not to look for them.
    """
    if SERVER_FD in _only_here and server_fd is not None:
        _only_here[SERVER_FD] = b"%d" % server_fd
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
