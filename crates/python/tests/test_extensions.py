"""What environ holds beyond PEP 3333: Werkzeug's keys, and amboss's own."""

import socket
import threading
import time

import pytest

from client import PATIENCE
from conftest import eventually

PLAIN = [("Content-Type", "text/plain")]


def test_shutdown_stops_the_server_after_the_answer(serve):
    def app(environ, start_response):
        environ["werkzeug.server.shutdown"]()
        start_response("200 OK", PLAIN)
        yield b"one"
        time.sleep(0.02)
        yield b"two"

    served = serve(app)
    answer = served.get()
    assert (answer.body, answer.complete) == (b"onetwo", True)
    served.thread.join(PATIENCE)
    assert not served.thread.is_alive() and served.raised is None
    with pytest.raises(OSError):
        served.client()


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
    assert entered.wait(PATIENCE)
    assert served.get("/stop").body == b"stop"
    gate.open()
    assert slow.answer().body == b"slow"
    served.thread.join(PATIENCE)
    assert not served.thread.is_alive()


def test_the_socket_is_the_connections(serve):
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
    assert client.answer()[:4:3] == (200, b"ok")


def test_the_socket_costs_no_descriptor_until_it_is_used(serve):
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


def test_client_disconnected_tells(serve):
    told = []
    entered = threading.Event()

    def app(environ, start_response):
        told.append(environ["amboss.client_disconnected"]())
        entered.set()
        told.append(eventually(environ["amboss.client_disconnected"]))
        start_response("200 OK", PLAIN)
        return [b"for nobody"]

    client = serve(app).client().request()
    assert entered.wait(PATIENCE)
    client.close()
    eventually(lambda: len(told) == 2)
    assert told == [False, True]


def test_client_disconnected_is_false_between_requests_and_while_a_body_comes(serve):
    told = []

    def app(environ, start_response):
        told.append(environ["amboss.client_disconnected"]())
        environ["wsgi.input"].read(100)
        told.append(environ["amboss.client_disconnected"]())
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client()
    for _ in range(3):
        assert client.get(method="POST", body=b"x" * 100).status == 200
    assert told == [False] * 6


def test_early_hints_are_a_103_before_the_answer(serve):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        environ["wsgi.early_hints"]([("Link", "</b.css>; rel=preload"), ("X-B", "\xe4")])
        start_response("200 OK", PLAIN)
        return [b"body"]

    client = serve(app).client()
    for _ in range(2):
        client.request()
        first, second, answer = client.answer(), client.answer(), client.answer()
        assert (first.status, first.headers) == (103, [("Link", "</a.css>; rel=preload")])
        assert (second.status, second.headers) == (103, [("Link", "</b.css>; rel=preload"), ("X-B", "\xe4")])
        assert (answer.status, answer.header("Link"), answer.body) == (200, None, b"body")


def test_early_hints_leave_at_once(serve, gate):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        assert gate.wait()
        start_response("200 OK", PLAIN)
        return [b"body"]

    client = serve(app).client().request()
    assert client.head().status == 103
    gate.open()
    assert client.answer().status == 200


def test_early_hints_are_not_for_http_1_0(serve):
    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", PLAIN)
        return [b"body"]

    assert serve(app).client().send(b"GET / HTTP/1.0\r\n\r\n").answer().status == 200


WRONG_HINTS = {
    "after the head": (True, [("Link", "x")], RuntimeError),
    "a line feed": (False, [("Link", "x\r\ny: z")], ValueError),
    "bytes": (False, [("Link", b"x")], TypeError),
    "no tuples": (False, ["Link"], TypeError),
    "not a list": (False, "Link", TypeError),
    "beyond latin-1": (False, [("Link", "\u20ac")], Exception),
}


@pytest.mark.parametrize("case", WRONG_HINTS)
def test_wrong_early_hints_are_an_exception(serve, case):
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

    answer = serve(app, validate=False).get()
    assert answer.status == 200 and answer.body.endswith(b"body")
    assert len(seen) == 1 and isinstance(seen[0], kind), seen


def test_early_hints_of_an_answered_request_are_an_error(serve):
    kept = []

    def app(environ, start_response):
        kept.append(environ["wsgi.early_hints"])
        start_response("200 OK", PLAIN)
        return [b"body"]

    assert serve(app).get().status == 200
    with pytest.raises(RuntimeError):
        kept[0]([("Link", "x")])


def test_a_write_to_a_client_that_has_left_is_client_disconnected(serve, log):
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
    client.head()
    client.close()
    eventually(lambda: seen)
    assert isinstance(seen[0], amboss.ClientDisconnected) and isinstance(seen[0], ConnectionError)
    # Nothing went wrong here: it would be said before the line that is written for every request.
    log.wait_for('"GET / HTTP/1.1" 200')
    assert "Traceback" not in log.text
