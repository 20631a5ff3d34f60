"""Applications without a framework, for clients and proxies."""

import hashlib
import json
import os
import signal
import threading
import time

SECONDS = 30

go_on = threading.Semaphore(0)


def application(environ, start_response):
    """Responds with the request as JSON, except for some paths."""
    path = environ["PATH_INFO"]
    if path == "/upload":
        digest = hashlib.sha256()
        size = 0
        for block in iter(lambda: environ["wsgi.input"].read(1 << 16), b""):
            digest.update(block)
            size += len(block)
        return respond(start_response, {"size": size, "sha256": digest.hexdigest()})
    if path == "/refuse":
        start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return [b"no\n"]
    if path == "/refuse-slowly":
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return (block for block in (b"n", b"o", b"\n"))
    if path == "/blocks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return blocks()
    if path == "/next":
        go_on.release()
        return respond(start_response, {})
    if path == "/bytes":
        size = int(environ["QUERY_STRING"] or 100_000)
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
        return [b"x" * size]
    if path == "/wait":
        # Creates a file in the directory, and waits for another one that the test creates.
        folder = environ["QUERY_STRING"]
        open(os.path.join(folder, "waiting"), "w").close()
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(os.path.join(folder, "go-on")) and time.monotonic() < deadline:
            time.sleep(0.01)
        return respond(start_response, {"waited": True})
    if path == "/raise":
        # raise_signal sends the signal to this thread, not to the main thread.
        signal.raise_signal(getattr(signal, environ["QUERY_STRING"]))
        return respond(start_response, {})
    if path == "/fail":
        raise ValueError("on purpose")
    info = {key: value for key, value in environ.items() if isinstance(value, str)}
    info["body"] = environ["wsgi.input"].read().decode("latin-1")
    return respond(start_response, info)


def respond(start_response, value):
    text = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


def blocks():
    for number in range(5):
        yield b"block %d\n" % number
        assert go_on.acquire(timeout=SECONDS)
