"""Hides variables that concern only this process, a reloader's child, from the processes that it starts.

Werkzeug recognises its own reloader's child by two variables (see ``werkzeug.serving.is_running_from_reloader``), which
amboss sets as well. If a child process inherited them, ``flask run`` there would believe that a reloader had started
it, and listen on a descriptor that it does not have.
"""

import os
from typing import Optional

RUN_MAIN = b"WERKZEUG_RUN_MAIN"
SERVER_FD = b"WERKZEUG_SERVER_FD"

#: The hidden variables.
_hidden: dict[bytes, bytes] = {}


class _Environment(dict[bytes, bytes]):
    """The data of ``os.environ``, in which hidden variables can be looked up but are not listed.

    So a process that is started with this environment, or with a copy of it, does not inherit them.
    """

    def __missing__(self, key: bytes) -> bytes:
        return _hidden[key]

    def __delitem__(self, key: bytes) -> None:
        if _hidden.pop(key, None) is None or key in self:
            super().__delitem__(key)


def hide_reloader_variables() -> None:
    """Hides Werkzeug's variables, if a reloader has started this process."""
    if not (os.environ.get("AMBOSS_CHILD_RELOADING") and os.environ.get("AMBOSS_SERVER_FD")) or _hidden:
        return
    for name in (RUN_MAIN, SERVER_FD):
        value = os.environb.pop(name, None)
        if value is not None:
            _hidden[name] = value
    data = _Environment(os.environb._data)  # type: ignore[attr-defined]
    os.environb._data = os.environ._data = data  # type: ignore[attr-defined]


def sockets_adopted(server_fd: Optional[int]) -> None:
    """Updates the environment after the server has adopted the sockets that the supervisor passed on.

    The sockets have other descriptors by now, and the first listening one is ``server_fd``. A server that the
    application starts must not look for the old ones.
    """
    if SERVER_FD in _hidden and server_fd is not None:
        _hidden[SERVER_FD] = b"%d" % server_fd
    if os.environ.pop("AMBOSS_SERVER_FD", None) is not None:
        for name in ("AMBOSS_CONTROL_FD", "AMBOSS_CHILD_SPARE", "LISTEN_FDS", "LISTEN_PID"):
            os.environ.pop(name, None)
