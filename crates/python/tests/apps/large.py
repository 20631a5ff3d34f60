"""Bodies that do not fit into memory, in both directions."""

import os

BLOCK = 1 << 16


def application(environ, start_response):
    """``/up`` counts bytes, ``/lines`` counts lines; ``/down`` and ``/file`` send the number of bytes in the query."""
    path = environ["PATH_INFO"]
    if path == "/up":
        return count(start_response, iter(lambda: environ["wsgi.input"].read(BLOCK), b""))
    if path == "/lines":
        return count(start_response, environ["wsgi.input"])
    size = int(environ["QUERY_STRING"] or 0)
    headers = [("Content-Type", "application/octet-stream")]
    if path == "/down":
        start_response("200 OK", headers)
        return blocks(size)
    if path == "/down-by-write":
        write = start_response("200 OK", [*headers, ("Content-Length", str(size))])
        for block in blocks(size):
            write(block)
        return []
    if path == "/file":
        start_response("200 OK", [*headers, ("Content-Length", str(size))])
        return environ["wsgi.file_wrapper"](open(os.environ["AMBOSS_TEST_FILE"], "rb"), BLOCK)
    if path == "/echo":
        start_response("200 OK", headers)
        return iter(lambda: environ["wsgi.input"].read(BLOCK), b"")
    start_response("404 Not Found", [])
    return []


def count(start_response, parts):
    text = b"%d" % sum(map(len, parts))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


def blocks(size):
    block = b"x" * BLOCK
    while size > 0:
        yield block[:size]
        size -= BLOCK
