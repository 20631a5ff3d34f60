"""CPython without the interpreter lock (PEP 703): requests run in parallel, and what is shared is guarded.

With the lock, these tests show that the same load passes there.
"""

import sys
import threading

import pytest

from client import Client
from waiting import TIMEOUT

PLAIN = [("Content-Type", "text/plain")]

#: Whether the interpreter has no lock. Importing the package must not switch the lock on.
FREE = not getattr(sys, "_is_gil_enabled", lambda: True)()


@pytest.mark.skipif("free-threading" not in sys.version, reason="this interpreter has a lock")
def test_the_package_leaves_the_lock_off():
    assert FREE


def compute(environ, start_response):
    total = sum(number * number for number in range(2000))
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", [*PLAIN, ("X-Total", str(total))])
    return [environ["PATH_INFO"].encode() + b" " + environ.get("HTTP_X_NAME", "-").encode() + b" " + body]


def load(port, name, failures):
    with Client(("127.0.0.1", port)) as client:
        for number in range(200):
            fields = f"X-Name: {name}\r\nX-{name}-{number}: 1\r\n"
            body = b"x" * (number % 50)
            response = client.get(f"/{number}", "POST", headers=fields, body=body)
            if response.body != f"/{number} {name} ".encode() + body:
                failures.append(response)


def test_many_connections_share_the_caches(serve):
    served = serve(compute, validate=False)
    failures = []
    threads = [threading.Thread(target=load, args=(served.port, f"T{index}", failures)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert failures == []


def test_many_connections_with_handlers_streams_and_errors(serve, log):
    import amboss

    class Handler(amboss.WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            seen.append(code)

    seen = []

    def app(environ, start_response):
        kind = int(environ["PATH_INFO"][1:]) % 4
        if kind == 0:
            raise ValueError("for the log")
        write = start_response("200 OK", PLAIN)
        if kind == 1:
            write(b"written")
            return []
        if kind == 2:
            return (b"%d" % number for number in range(10))
        environ["wsgi.errors"].write("line\n")
        return [b"listed"]

    served = serve(app, validate=False, request_handler=Handler)
    expected = {0: None, 1: b"written", 2: b"0123456789", 3: b"listed"}
    failures = []

    def ask():
        with served.client() as client:
            for number in range(120):
                response = client.get(f"/{number}")
                wanted = expected[number % 4]
                if response.status != (500 if wanted is None else 200) or wanted not in (None, response.body):
                    failures.append(response)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert failures == []
