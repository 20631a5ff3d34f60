"""``werkzeug.socket``: the connection's socket, made when somebody uses it."""

import socket
from typing import Any, Optional


class ConnectionSocket:
    """Behaves like the socket of the connection, and becomes one on first use, once more after it was closed: it is the
    same for all requests of a connection.

    A request that doesn't use it costs no descriptor. What is read from it is missing in ``wsgi.input``, what is
    written to it stands between the server's own words: it is for protocols that take the connection over.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._socket: Optional[socket.socket] = None

    def _real(self) -> socket.socket:
        if self._socket is None or self._socket.fileno() < 0:
            self._socket = socket.socket(fileno=self._connection.duplicate())
        return self._socket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __repr__(self) -> str:
        return repr(self._socket) if self._socket else "<socket of the connection, not used yet>"
