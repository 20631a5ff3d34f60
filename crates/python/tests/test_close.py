"""``close()`` of the application's result: it is called exactly once in every case."""

import threading
import time

import pytest

from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


class Body:
    """An iterable that counts the calls of ``close()``."""

    def __init__(self, blocks, fails_at=None):
        self.blocks = iter(blocks)
        self.fails_at = fails_at
        self.given = 0
        self.closed = 0
        self.closed_at = 0.0
        self.called = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.called.set()
        if self.given == self.fails_at:
            raise ValueError("failed")
        self.given += 1
        return next(self.blocks)

    def close(self):
        self.closed += 1
        self.closed_at = time.monotonic()


def returning(body, headers=()):
    def app(environ, start_response):
        start_response("200 OK", PLAIN + list(headers))
        return body

    return app


def closed_once(body):
    """Waits until ``close()`` is called, and a little longer for a second call."""
    wait_until(lambda: body.closed)
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        assert body.closed == 1
        time.sleep(0.01)
    return True


CASES = {
    "a usual body": (lambda: Body([b"one", b"two"]), ()),
    "one block": (lambda: Body([b"one"]), ()),
    "no block": (lambda: Body([]), ()),
    "empty blocks": (lambda: Body([b"", b""]), ()),
    "an error at once": (lambda: Body([b"one"], fails_at=0), ()),
    "an error in mid-body": (lambda: Body([b"one", b"two"], fails_at=1), ()),
    "a block that is not bytes": (lambda: Body(["one"]), ()),
    "a later block that is not bytes": (lambda: Body([b"one", "two"]), ()),
    "more than Content-Length": (lambda: Body([b"one", b"two"]), [("Content-Length", "3")]),
    "less than Content-Length": (lambda: Body([b"one"]), [("Content-Length", "5")]),
}


@pytest.mark.parametrize("case", CASES)
def test_close_is_called_once(serve, case):
    make, headers = CASES[case]
    body = make()
    serve(returning(body, headers), validate=False).get()
    assert closed_once(body)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_close_is_called_once_if_no_body_is_sent(serve, method):
    body = Body([b"one", b"two"])

    def app(environ, start_response):
        start_response("200 OK" if method == "HEAD" else "304 Not Modified", [])
        return body

    serve(app, validate=False).get(method=method)
    assert closed_once(body)


def test_close_is_called_if_start_response_was_not(serve):
    body = Body([b"one"])
    served = serve(lambda environ, start_response: body, validate=False)
    assert served.get().status == 500
    assert closed_once(body)


def test_close_is_called_if_the_result_is_not_iterable(serve):
    class Unusable(Body):
        def __iter__(self):
            raise ValueError("no")

    body = Unusable([])
    assert serve(returning(body), validate=False).get().status == 500
    assert closed_once(body)


def test_close_is_called_on_the_result_not_on_its_iterator(serve):
    inner = Body([b"one", b"two"])

    class Outer:
        closed = 0

        def __iter__(self):
            return inner

        def close(self):
            self.closed += 1

    outer = Outer()
    assert serve(returning(outer), validate=False).get().body == b"onetwo"
    wait_until(lambda: outer.closed)
    assert (outer.closed, inner.closed) == (1, 0)


def test_the_finally_block_of_a_generator_runs_if_the_client_disconnects(serve):
    over = threading.Event()
    begun = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        try:
            while True:
                begun.set()
                yield b"x" * 65536
        finally:
            over.set()

    client = serve(app).client().request()
    assert begun.wait(TIMEOUT)
    client.close()
    assert over.wait(TIMEOUT)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_close_is_called_within_a_second_of_a_disconnect(serve, size):
    def blocks():
        while True:
            yield b"x" * size
            time.sleep(0.02)

    body = Body(blocks())
    client = serve(returning(body), validate=False).client().request()
    client.read_head()
    left = time.monotonic()
    client.close()
    assert closed_once(body)
    assert body.closed_at - left < 1


def test_close_is_called_within_a_second_if_a_client_that_reads_nothing_disconnects(serve):
    # No block is requested while the client reads nothing; its disconnect is detected nevertheless.
    body = Body(iter(lambda: b"x" * (1 << 20), None))
    client = serve(returning(body), validate=False).client().request()
    assert body.called.wait(TIMEOUT)
    given = -1
    while given != body.given:
        given = body.given
        time.sleep(0.1)
    left = time.monotonic()
    client.close()
    assert closed_once(body)
    assert body.closed_at - left < 1


def test_an_error_in_close_does_not_change_the_response(serve, log):
    class Failing(Body):
        def close(self):
            super().close()
            raise ValueError("close failed")

    body = Failing([b"one", b"two"])
    served = serve(returning(body), validate=False)
    client = served.client()
    response = client.get()
    assert (response.status, response.body, response.complete) == (200, b"onetwo", True)
    text = log.wait_for("ValueError: close failed")
    assert text.count("ValueError: close failed") == 1
    assert closed_once(body)


def test_a_close_that_is_not_callable_is_logged(serve, log):
    class Odd:
        close = 5

        def __iter__(self):
            return iter([b"one", b"two"])

    assert serve(returning(Odd()), validate=False).get().body == b"onetwo"
    log.wait_for("TypeError")


def test_close_is_called_for_pipelined_requests(serve):
    bodies = []

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        bodies.append(Body([b"one", b"two"]))
        return bodies[-1]

    client = serve(app, validate=False).client()
    client.request().request().request()
    for _ in range(3):
        assert client.read_response().body == b"onetwo"
    wait_until(lambda: [body.closed for body in bodies] == [1, 1, 1])
