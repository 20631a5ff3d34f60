"""``werkzeug.socket`` after its first use: the connection's socket, valid while its request runs."""

import os
import socket
from typing import Any, Optional

#: The timeout in seconds that is used for "no timeout". The descriptor shares its non-blocking mode with the server's,
#: so waiting needs a timeout. This is close to the maximum of ``poll``: 24 days.
_NO_TIMEOUT = 24 * 24 * 3600.0


class RequestSocket(socket.socket):
    """A blocking socket on a descriptor that stays non-blocking.

    The first write hands the connection over to the application: the server sends no response, and closes the
    connection when the request is over. From then on every operation raises :class:`OSError`.
    """

    __slots__ = ("_owner", "_seconds")

    def __init__(self, owner: Any, descriptor: int) -> None:
        self._owner = owner
        self._seconds: Optional[float] = None
        super().__init__(fileno=descriptor)
        self.settimeout(socket.getdefaulttimeout())

    @classmethod
    def closed(cls, owner: Any) -> "RequestSocket":
        """Makes a closed socket, for a request that is over."""
        self = cls.__new__(cls)
        self._owner, self._seconds, self._closed = owner, None, True
        self._io_refs = 0  # type: ignore[attr-defined]
        return self

    def settimeout(self, value: Optional[float]) -> None:
        super().settimeout(_NO_TIMEOUT if value is None else value)
        self._seconds = None if value is None else float(value)

    def gettimeout(self) -> Optional[float]:
        return self._seconds

    @property
    def timeout(self) -> Optional[float]:
        return self._seconds

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self._seconds != 0.0

    def dup(self) -> "RequestSocket":
        copy: RequestSocket = self._owner.open()
        copy.settimeout(self._seconds)
        return copy

    # A blocking system socket writes all of the data before it returns, and many callers ignore the returned count. This
    # descriptor is non-blocking and takes only what fits into its buffer; the methods below write the rest.

    def send(self, *args: Any) -> int:
        self._take_over(args)
        if not self._waits(*args[1:]):
            return super().send(*args)
        super().sendall(*args)
        return memoryview(args[0]).nbytes

    def sendall(self, *args: Any) -> None:
        self._take_over(args)
        return super().sendall(*args)

    def sendto(self, *args: Any) -> int:
        # The socket is connected, so the address, the last argument, is not needed.
        return self.send(*args[:-1])

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, *address: Any) -> int:
        blocks = [memoryview(block).cast("B") for block in buffers]
        self._take_over(blocks[:1])
        sent = super().sendmsg(blocks, ancdata, flags, *address)
        if self._waits(flags):
            rest = b"".join(blocks)[sent:]
            super().sendall(rest, flags)
            sent += len(rest)
        return sent

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if not self._waits_for_all(flags):
            return super().recv(bufsize, flags)
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(buffer, bufsize, flags)])

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if not self._waits_for_all(flags):
            return super().recv_into(buffer, nbytes, flags)
        view = memoryview(buffer).cast("B")
        view = view[: nbytes or len(view)]
        received = 0
        while received < len(view):
            count = super().recv_into(view[received:], 0, flags & ~socket.MSG_WAITALL)
            if not count:
                break
            received += count
        return received

    def _waits(self, flags: int = 0) -> bool:
        return self._seconds is None and not flags & getattr(socket, "MSG_DONTWAIT", 0)

    def _waits_for_all(self, flags: int) -> bool:
        return bool(flags & socket.MSG_WAITALL) and not flags & socket.MSG_PEEK and self._waits(flags)

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        self._take_over(())
        return super().sendfile(*args, **kwargs)

    def shutdown(self, how: int) -> None:
        self._take_over(())
        super().shutdown(how)

    def detach(self) -> int:
        self._take_over(())
        return super().detach()

    def _take_over(self, args: Any) -> None:
        """Takes over the connection before anything is written to it. ``args`` are those of the write."""
        status = 0
        if args and not self._owner.is_taken_over():
            # The access log shows the status of the application's own response.
            line = bytes(memoryview(args[0]).cast("B")[:12])
            if line[:7] == b"HTTP/1." and line[8:9] == b" " and line[9:].isdigit():
                status = int(line[9:])
        self._owner.take_over(status)

    def _end(self) -> None:
        """Closes the socket when the request ends, even if the application has kept a reference to it."""
        descriptor = self.fileno()
        if descriptor >= 0:
            # The application may have made the descriptor blocking by its number; the server shares that mode.
            os.set_blocking(descriptor, False)
            self._closed = True
            self._real_close()  # type: ignore[attr-defined]
