"""Applications that use nothing but WSGI."""

from __future__ import annotations

import time

# For type checkers. Importing typing would add to the memory that is measured.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HELLO = b"Hello, World!"
TEN_KIB = b"x" * (10 << 10)
BLOCK = 64 << 10


def fixed(body: bytes, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    return fixed(HELLO, start_response)


def ten_kib(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    return fixed(TEN_KIB, start_response)


def upload(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Reads the body in blocks and responds with its length."""
    left = length = int(environ["CONTENT_LENGTH"])
    body = environ["wsgi.input"]
    while left > 0:
        block = body.read(min(left, BLOCK))
        if not block:
            break
        left -= len(block)
    return fixed(str(length - left).encode(), start_response)


def waits(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Sleeps 0.2 s for /sleep and 2 s for /long."""
    time.sleep({"/sleep": 0.2, "/long": 2}.get(environ["PATH_INFO"], 0))
    return fixed(HELLO, start_response)


def naps(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Sleeps 50 ms for /sleep, and responds with the path."""
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(0.05)
    return fixed(path.encode("latin-1"), start_response)
