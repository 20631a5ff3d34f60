"""``werkzeug.socket``, once it is used: the connection's socket, for as long as its request runs."""

import os
import socket
from typing import Any, Optional

#: What stands for "no timeout" inside. The descriptor shares its non-blocking mode with the server's, so waiting takes a
#: timeout; this is nearly the longest that ``poll`` knows, in seconds: 24 days.
_NO_TIMEOUT = 24 * 24 * 3600.0


class RequestSocket(socket.socket):
    """A blocking socket on a descriptor that stays non-blocking.

    The first write makes the connection the application's: the server sends no answer of its own, and closes the
    connection when the request is over. From then on every operation raises :class:`OSError`.
    """

    __slots__ = ("_owner", "_seconds")

    def __init__(self, owner: Any, descriptor: int) -> None:
        self._owner = owner
        self._seconds: Optional[float] = None
        super().__init__(fileno=descriptor)
        self.settimeout(socket.getdefaulttimeout())

    @classmethod
    def ended(cls, owner: Any) -> "RequestSocket":
        """A closed socket, for a request that is over."""
        closed = cls.__new__(cls)
        closed._owner, closed._seconds, closed._closed = owner, None, True
        closed._io_refs = 0  # type: ignore[attr-defined]
        return closed

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

    # Without a timeout the system's own sockets write all of it before they return, and who knows that does not look
    # at the number. The descriptor itself would take what fits into its buffer.

    def send(self, *args: Any) -> int:
        self._claim(args)
        if not self._waits(*args[1:]):
            return super().send(*args)
        super().sendall(*args)
        return memoryview(args[0]).nbytes

    def sendall(self, *args: Any) -> None:
        self._claim(args)
        return super().sendall(*args)

    def sendto(self, *args: Any) -> int:
        # To whom is settled: the address, the last argument, is of no use here.
        return self.send(*args[:-1])

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, *address: Any) -> int:
        blocks = [memoryview(block).cast("B") for block in buffers]
        self._claim(blocks[:1])
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
        self._claim(())
        return super().sendfile(*args, **kwargs)

    def shutdown(self, how: int) -> None:
        self._claim(())
        super().shutdown(how)

    def detach(self) -> int:
        self._claim(())
        return super().detach()

    def _claim(self, args: Any) -> None:
        """Takes the connection over, before anything is written to it."""
        status = 0
        if args and not self._owner.is_taken():
            # For the access log.
            line = bytes(memoryview(args[0]).cast("B")[:12])
            if line[:7] == b"HTTP/1." and line[8:9] == b" " and line[9:].isdigit():
                status = int(line[9:])
        self._owner.take(status)

    def _end(self) -> None:
        """The request is over: nothing may be read or written from now on, also by who has kept the socket."""
        descriptor = self.fileno()
        if descriptor >= 0:
            # The application may have changed the mode by the descriptor's number.
            os.set_blocking(descriptor, False)
            self._closed = True
            self._real_close()  # type: ignore[attr-defined]
