"""A client that sends the bytes it is given, and takes an answer apart without being kind to it."""

import socket
import ssl
from typing import Any, List, NamedTuple, Optional, Tuple

#: Seconds that anything may take before a test fails: machines that run tests are busy.
PATIENCE = 30.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    reason: str
    headers: List[Tuple[str, str]]
    body: bytes
    #: Did it end as its framing says, and not because the connection was cut?
    complete: bool

    def all(self, name: str) -> List[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> Optional[str]:
        """The one value of a header."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


class Client:
    """A connection."""

    def __init__(self, address: Any, tls: Optional[ssl.SSLContext] = None) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "Client":
        self.socket.sendall(data)
        return self

    def request(
        self, target: str = "/", method: str = "GET", headers: str = "", body: Optional[bytes] = None
    ) -> "Client":
        """Sends a request; ``headers`` are lines that end in CR LF."""
        if body is not None:
            headers += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        return self.send(head.encode("latin-1") + (body or b""))

    def more(self) -> bool:
        """Receives something; false when the connection has ended."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError) as error:
            if isinstance(error, socket.timeout):
                raise
            return False
        self.buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """Takes what comes up to and with ``end``."""
        while end not in self.buffer:
            if not self.more():
                raise EOFError(f"the connection has ended before {end!r}, after {self.buffer!r}")
        taken, mark, self.buffer = self.buffer.partition(end)
        return taken + mark

    def exactly(self, count: int) -> Optional[bytes]:
        """Takes so many bytes; ``None`` when the connection ends before."""
        while len(self.buffer) < count:
            if not self.more():
                return None
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self) -> bytes:
        """Takes everything up to the end of the connection."""
        while self.more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def is_over(self) -> bool:
        """Waits for the end of the connection; false when something comes instead."""
        return not self.buffer and not self.more()

    def head(self) -> Answer:
        """Takes the head of an answer."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", lines[0]
        pairs = [line.partition(":") for line in lines[1:-2]]
        return Answer(int(status), reason, [(name, value.strip()) for name, _, value in pairs], b"", False)

    def chunk(self) -> Optional[bytes]:
        """Takes a chunk; empty for the last one, ``None`` when the connection is cut instead."""
        try:
            size = int(self.until(b"\r\n"), 16)
        except EOFError:
            return None
        data = self.exactly(size + 2)
        return None if data is None else data[:-2]

    def answer(self, to: str = "GET") -> Answer:
        """Takes a whole answer, as its framing says."""
        head = self.head()
        if to == "HEAD" or head.status < 200 or head.status in (204, 304):
            return head._replace(complete=True)
        if head.header("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                chunk = self.chunk()
                if not chunk:
                    return head._replace(body=body, complete=chunk == b"")
                body += chunk
        length = head.header("Content-Length")
        if length is not None:
            whole = self.exactly(int(length))
            if whole is None:
                return head._replace(body=self.rest(), complete=False)
            return head._replace(body=whole, complete=True)
        return head._replace(body=self.rest(), complete=True)

    def get(self, target: str = "/", method: str = "GET", headers: str = "", body: Optional[bytes] = None) -> Answer:
        """Sends a request and takes its answer."""
        return self.request(target, method, headers, body).answer(method)
