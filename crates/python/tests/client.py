"""A client that sends exactly the bytes it is given, and parses responses strictly."""

import socket
import ssl
from typing import Any, NamedTuple, Optional

from waiting import TIMEOUT


class Response(NamedTuple):
    """A response."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    #: Whether the response ended as its framing says, rather than because the connection was closed.
    complete: bool

    def all(self, name: str) -> list[str]:
        """Returns all values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> Optional[str]:
        """Returns the value of a header, which must not occur more than once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None


class Client:
    """A connection to a server."""

    def __init__(self, address: Any, tls: Optional[ssl.SSLContext] = None) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=TIMEOUT)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "Client":
        self.socket.sendall(data)
        return self

    def request(
        self, target: str = "/", method: str = "GET", headers: str = "", body: Optional[bytes] = None
    ) -> "Client":
        """Sends a request; ``headers`` are lines that end with CR LF."""
        if body is not None:
            headers += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        return self.send(head.encode("latin-1") + (body or b""))

    def receive(self) -> bool:
        """Receives some bytes; returns whether the connection is still open."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError) as error:
            if isinstance(error, socket.timeout):
                raise
            return False
        self.buffer += data
        return bool(data)

    def read_until(self, end: bytes) -> bytes:
        """Reads up to and including ``end``."""
        while end not in self.buffer:
            if not self.receive():
                raise EOFError(f"the connection was closed before {end!r}, after {self.buffer!r}")
        taken, mark, self.buffer = self.buffer.partition(end)
        return taken + mark

    def read_exactly(self, count: int) -> Optional[bytes]:
        """Reads ``count`` bytes; ``None`` if the connection is closed before."""
        while len(self.buffer) < count:
            if not self.receive():
                return None
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_to_end(self) -> bytes:
        """Reads everything until the connection is closed."""
        while self.receive():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def is_closed(self) -> bool:
        """Waits until the connection is closed; returns False if more bytes arrive instead."""
        return not self.buffer and not self.receive()

    def read_head(self) -> Response:
        """Reads the head of a response."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", lines[0]
        pairs = [line.partition(":") for line in lines[1:-2]]
        return Response(int(status), reason, [(name, value.strip()) for name, _, value in pairs], b"", False)

    def read_chunk(self) -> Optional[bytes]:
        """Reads a chunk: empty for the last one, ``None`` if the connection is closed instead."""
        try:
            size = int(self.read_until(b"\r\n"), 16)
        except EOFError:
            return None
        data = self.read_exactly(size + 2)
        return None if data is None else data[:-2]

    def read_response(self, to: str = "GET") -> Response:
        """Reads a response as its framing says; ``to`` is the method of the request."""
        head = self.read_head()
        if to == "HEAD" or head.status < 200 or head.status in (204, 304):
            return head._replace(complete=True)
        if head.header("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                chunk = self.read_chunk()
                if not chunk:
                    return head._replace(body=body, complete=chunk == b"")
                body += chunk
        length = head.header("Content-Length")
        if length is not None:
            whole = self.read_exactly(int(length))
            if whole is None:
                return head._replace(body=self.read_to_end(), complete=False)
            return head._replace(body=whole, complete=True)
        return head._replace(body=self.read_to_end(), complete=True)

    def get(self, target: str = "/", method: str = "GET", headers: str = "", body: Optional[bytes] = None) -> Response:
        """Sends a request and reads the response."""
        return self.request(target, method, headers, body).read_response(method)
