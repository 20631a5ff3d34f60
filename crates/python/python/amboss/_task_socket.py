"""``werkzeug.socket`` of a request that runs in a greenlet: the connection's socket, as gevent or eventlet sees sockets."""

import _socket
import importlib
import socket
from typing import Any, Callable

#: How long to wait in seconds before asking again whether the earlier responses have been sent.
_PAUSE = 0.005


class TaskSocket:
    """A socket that lets other greenlets run while it waits, valid while its request runs.

    The first write hands the connection over to the application, as with :class:`amboss._socket.RequestSocket`.
    """

    def __init__(self, owner: Any, inner: Any, sleep: Callable[[float], Any]) -> None:
        self._owner = owner
        self._inner = inner
        self._sleep = sleep
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> "TaskSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._inner)

    def close(self) -> None:
        # The libraries' sockets can be closed only once.
        if not self._is_closed:
            self._is_closed = True
            self._inner.close()

    def dup(self) -> "TaskSocket":
        copy: TaskSocket = self._owner.open()
        copy._inner.settimeout(self._inner.gettimeout())
        return copy

    def send(self, data: Any, *flags: int) -> int:
        self._take_over(data)
        sent: int = self._inner.send(data, *flags)
        return sent

    def sendall(self, data: Any, *flags: int) -> None:
        self._take_over(data)
        self._inner.sendall(data, *flags)

    def sendto(self, data: Any, *args: Any) -> int:
        # The socket is connected, so the address, the last argument, is not needed.
        return self.send(data, *args[:-1])

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        data = b"".join(memoryview(block).cast("B") for block in buffers)
        self.sendall(data)
        return len(data)

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        self._take_over(b"")
        sent: int = self._inner.sendfile(*args, **kwargs)
        return sent

    def shutdown(self, how: int) -> None:
        self._take_over(b"")
        self._inner.shutdown(how)

    def detach(self) -> int:
        self._take_over(b"")
        number: int = self._inner.detach()
        return number

    def makefile(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" in mode:
            self._take_over(b"")
        return self._inner.makefile(mode, *args, **kwargs)

    def _take_over(self, data: Any) -> None:
        status = 0
        if not self._owner.is_taken_over():
            # The access log shows the status of the application's own response.
            line = bytes(memoryview(data).cast("B")[:12])
            if line[:7] == b"HTTP/1." and line[8:9] == b" " and line[9:].isdigit():
                status = int(line[9:])
        # Almost always true at once: earlier responses on the connection are rarely unsent.
        while not self._owner.take_over(status):
            self._sleep(_PAUSE)

    def _end(self) -> None:
        """Closes the socket when the request ends, even if the application has kept a reference to it."""
        self.close()


def closed(owner: Any) -> TaskSocket:
    """Makes a closed socket, for a request that is over."""
    inner = _socket.socket()
    inner.close()
    return TaskSocket(owner, inner, lambda _: None)


def open_socket(owner: Any, library: str, descriptor: int) -> TaskSocket:
    """Makes the socket of a descriptor, which it owns."""
    if library == "eventlet":
        original = importlib.import_module("eventlet.patcher").original("socket")
        plain = original.socket(fileno=descriptor)
        inner = importlib.import_module("eventlet.greenio").GreenSocket(plain)
    else:
        inner = importlib.import_module("gevent.socket").socket(fileno=descriptor)
    inner.settimeout(socket.getdefaulttimeout())
    return TaskSocket(owner, inner, importlib.import_module(library).sleep)
