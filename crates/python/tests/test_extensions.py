"""The environ's keys beyond PEP 3333: Werkzeug's and amboss's own."""

import socket
import threading
import time

import pytest

from greenlets import needs_threads
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def test_shutdown_stops_the_server_after_the_response(serve):
    def app(environ, start_response):
        environ["werkzeug.server.shutdown"]()
        start_response("200 OK", PLAIN)
        yield b"one"
        time.sleep(0.02)
        yield b"two"

    served = serve(app)
    response = served.get()
    assert (response.body, response.complete) == (b"onetwo", True)
    served.thread.join(TIMEOUT)
    assert not served.thread.is_alive() and served.raised is None
    with pytest.raises(OSError):
        served.client()


@needs_threads
def test_shutdown_lets_other_requests_finish(serve, gate):
    entered = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        if environ["PATH_INFO"] == "/slow":
            entered.set()
            assert gate.wait()
            return [b"slow"]
        environ["werkzeug.server.shutdown"]()
        return [b"stop"]

    served = serve(app)
    slow = served.client().request("/slow")
    assert entered.wait(TIMEOUT)
    assert served.get("/stop").body == b"stop"
    gate.open()
    assert slow.read_response().body == b"slow"
    served.thread.join(TIMEOUT)
    assert not served.thread.is_alive()


def test_the_socket_is_that_of_the_connection(serve):
    seen = []

    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        seen.append((peer.getpeername(), peer.getsockname(), peer.family, repr(peer)))
        peer.close()
        start_response("200 OK", PLAIN)
        return [b"served"]

    client = serve(app).client()
    for _ in range(2):
        assert client.get().body == b"served"
    ours = client.socket.getsockname(), client.socket.getpeername(), socket.AF_INET
    assert [one[:3] for one in seen] == [ours, ours]


def test_the_socket_can_be_written_to(serve):
    def app(environ, start_response):
        environ["werkzeug.socket"].sendall(b"HTTP/1.1 200 By Hand\r\nContent-Length: 2\r\n\r\nok")
        start_response("204 No Content", [])
        return []

    client = serve(app).client().request()
    assert client.read_response()[:4:3] == (200, b"ok")


def test_the_socket_uses_no_descriptor_until_it_is_used(serve):
    import os

    counts = []

    def app(environ, start_response):
        counts.append(len(os.listdir("/proc/self/fd")))
        assert "not used" in repr(environ["werkzeug.socket"])
        counts.append(len(os.listdir("/proc/self/fd")))
        start_response("200 OK", PLAIN)
        return [b""]

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc here")
    assert serve(app).get().status == 200
    assert counts[0] == counts[1]


def test_client_disconnected_detects_a_disconnect(serve):
    seen = []
    entered = threading.Event()

    def app(environ, start_response):
        seen.append(environ["amboss.client_disconnected"]())
        entered.set()
        seen.append(wait_until(environ["amboss.client_disconnected"]))
        start_response("200 OK", PLAIN)
        return [b"not received"]

    client = serve(app).client().request()
    assert entered.wait(TIMEOUT)
    client.close()
    wait_until(lambda: len(seen) == 2)
    assert seen == [False, True]


def test_client_disconnected_is_false_while_the_client_is_connected(serve):
    seen = []

    def app(environ, start_response):
        seen.append(environ["amboss.client_disconnected"]())
        environ["wsgi.input"].read(100)
        seen.append(environ["amboss.client_disconnected"]())
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client()
    for _ in range(3):
        assert client.get(method="POST", body=b"x" * 100).status == 200
    assert seen == [False] * 6


def test_early_hints_send_103_before_the_response(serve):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        environ["wsgi.early_hints"]([("Link", "</b.css>; rel=preload"), ("X-B", "\xe4")])
        start_response("200 OK", PLAIN)
        return [b"body"]

    client = serve(app).client()
    for _ in range(2):
        client.request()
        first, second, response = client.read_response(), client.read_response(), client.read_response()
        assert (first.status, first.headers) == (103, [("Link", "</a.css>; rel=preload")])
        assert (second.status, second.headers) == (103, [("Link", "</b.css>; rel=preload"), ("X-B", "\xe4")])
        assert (response.status, response.header("Link"), response.body) == (200, None, b"body")


def test_early_hints_are_sent_at_once(serve, gate):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        assert gate.wait()
        start_response("200 OK", PLAIN)
        return [b"body"]

    client = serve(app).client().request()
    assert client.read_head().status == 103
    gate.open()
    assert client.read_response().status == 200


def test_early_hints_are_not_sent_to_http_1_0_clients(serve):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", PLAIN)
        return [b"body"]

    assert serve(app).client().send(b"GET / HTTP/1.0\r\n\r\n").read_response().status == 200


WRONG_HINTS = {
    "after the head": (True, [("Link", "x")], RuntimeError),
    "a line feed": (False, [("Link", "x\r\ny: z")], ValueError),
    "bytes": (False, [("Link", b"x")], TypeError),
    "no tuples": (False, ["Link"], TypeError),
    "not a list": (False, "Link", TypeError),
    "outside latin-1": (False, [("Link", "\u20ac")], Exception),
}


@pytest.mark.parametrize("case", WRONG_HINTS)
def test_wrong_early_hints_raise_an_exception(serve, case):
    sent, hints, kind = WRONG_HINTS[case]
    seen = []

    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        if sent:
            write(b"begun ")
        try:
            environ["wsgi.early_hints"](hints)
        except Exception as error:
            seen.append(error)
        return [b"body"]

    response = serve(app, validate=False).get()
    assert response.status == 200 and response.body.endswith(b"body")
    assert len(seen) == 1 and isinstance(seen[0], kind), seen


def test_early_hints_after_the_response_raise_an_error(serve):
    kept = []

    def app(environ, start_response):
        kept.append(environ["wsgi.early_hints"])
        start_response("200 OK", PLAIN)
        return [b"body"]

    assert serve(app).get().status == 200
    with pytest.raises(RuntimeError):
        kept[0]([("Link", "x")])


def test_a_write_to_a_disconnected_client_raises_client_disconnected(serve, log):
    import amboss

    seen = []

    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        try:
            while True:
                write(b"x" * 65536)
        except OSError as error:
            seen.append(error)
            raise

    served = serve(app, validate=False)
    client = served.client().request()
    client.read_head()
    client.close()
    wait_until(lambda: seen)
    assert isinstance(seen[0], amboss.ClientDisconnected) and isinstance(seen[0], ConnectionError)
    # A logged error would precede the access log's line.
    log.wait_for('"GET / HTTP/1.1" 200')
    assert "Traceback" not in log.text
