"""Clients that misbehave, requests by the thousand, and that nothing grows by them."""

import gc
import os
import socket
import struct
import sys
import threading
import time
import tracemalloc

import pytest

from client import PATIENCE, Client
from conftest import eventually

PLAIN = [("Content-Type", "text/plain")]


def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"Hello"]


@pytest.mark.parametrize("size", [10, 16_384, 100_000, 200_000])
def test_an_upload_that_is_not_read_is_thrown_away_and_the_connection_goes_on(serve, size):
    client = serve(hello).client()
    for _ in range(3):
        assert client.get(method="POST", body=b"x" * size).body == b"Hello"


def test_a_large_upload_that_is_not_read_gets_its_answer(serve):
    served = serve(hello)
    client = served.client().request(method="POST", headers="Content-Length: 100000000\r\n")
    over = threading.Event()

    def send():
        try:
            while not over.is_set():
                client.socket.sendall(b"x" * 65536)
        except OSError:
            pass

    sender = threading.Thread(target=send)
    sender.start()
    try:
        answer = client.answer()
    finally:
        over.set()
        sender.join(PATIENCE)
    assert (answer.status, answer.body) == (200, b"Hello")
    assert served.get().body == b"Hello"


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
@pytest.mark.parametrize("window", [2048, None])
def test_what_comes_behind_a_last_request_costs_nothing_of_its_answer(serve, tmp_path, kind, window):
    (tmp_path / "file").write_bytes(b"~" * 14_000)
    begun, sent = threading.Semaphore(0), threading.Semaphore(0)

    def app(environ, start_response):
        begun.release()
        assert sent.acquire(timeout=PATIENCE)
        start_response("200 OK", PLAIN)
        if kind == "file":
            return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))
        block = b"~" * 14_000
        return [block] if kind == "list" else (part for part in [block])

    served = serve(app, validate=False)
    for _ in range(20):
        with socket.socket() as plain:
            plain.settimeout(PATIENCE)
            if window:
                # A part of the answer waits in the server's system when it closes.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            plain.connect(("127.0.0.1", served.port))
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert begun.acquire(timeout=PATIENCE)
            plain.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            sent.release()
            # By then it would have been closed.
            time.sleep(0.02)
            answer = b"".join(iter(lambda: plain.recv(4096), b""))
        assert answer.count(b"~") == 14_000, len(answer)


def test_slow_uploads_beside_fast_requests(serve):
    seen = []

    def app(environ, start_response):
        seen.append(len(environ["wsgi.input"].read(1 << 30)))
        return hello(environ, start_response)

    # More than there are threads: bodies hold none while they come.
    served = serve(app, threads=4)
    small = [served.client().request(method="POST", headers="Content-Length: 50\r\n") for _ in range(20)]
    large = [served.client().request(method="POST", headers="Content-Length: 50000\r\n") for _ in range(10)]
    for client in small:
        client.send(b"x" * 20)
    for client in large:
        client.send(b"x" * 20_000)
    fast = served.client()
    begun = time.monotonic()
    for _ in range(100):
        assert fast.get().body == b"Hello"
    assert time.monotonic() - begun < 5
    for client in small:
        client.send(b"x" * 30)
    for client in large:
        client.send(b"x" * 30_000)
    assert [client.answer().status for client in small + large] == [200] * 30
    assert sorted(seen) == [0] * 100 + [50] * 20 + [50_000] * 10


def test_slow_readers_beside_fast_requests(serve):
    block = b"x" * 1_000_000

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        if environ["PATH_INFO"] == "/large":
            return iter([block] * 20)
        return [b"Hello"]

    served = serve(app, threads=2)
    slow = [served.client().request("/large") for _ in range(8)]
    fast = served.client()
    for _ in range(100):
        assert fast.get().body == b"Hello"
    for client in slow:
        assert client.answer().body == block * 20
        client.close()


def grown(action, times):
    """Bytes and references that Python has more of after so many times, at least."""
    things = (None, True, "", b"", hello, PLAIN)

    def measure():
        gc.collect()
        return [tracemalloc.get_traced_memory()[0]] + [sys.getrefcount(thing) for thing in things]

    for _ in range(200):
        action()
    grown = []
    tracemalloc.start()
    try:
        before = measure()
        # A leak is there each time, tables that grow now and then are not.
        for _ in range(3):
            for _ in range(times):
                action()
            after = measure()
            grown.append([now - then for now, then in zip(after, before)])
            before = after
    finally:
        tracemalloc.stop()
    memory, *counts = (min(column) for column in zip(*grown))
    return memory, counts


def failing(environ, start_response):
    raise ValueError


def streaming(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one"
    yield b"two"


def reading(environ, start_response):
    environ["wsgi.input"].readline()
    environ["wsgi.input"].read()
    return hello(environ, start_response)


def refused(environ, start_response):
    try:
        start_response("200 OK", [("A", "b\r\nc")])
    except ValueError:
        return hello(environ, start_response)


def filed(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


def hinting(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "x")])
    environ["amboss.client_disconnected"]()
    return hello(environ, start_response)


@pytest.mark.parametrize("app", [hello, failing, streaming, reading, refused, filed, hinting])
def test_a_thousand_requests_leave_nothing_behind(serve, app):
    served = serve(app, validate=False, quiet=True)
    client = served.client()

    def ask():
        client.request(method="POST", headers="X-A: b\r\nCookie: c=d\r\n", body=b"a line\nand another")
        answer = client.answer()
        if answer.status == 103:
            answer = client.answer()
        assert answer.status in (200, 500)

    memory, counts = grown(ask, 400)
    # One small object for each request would be 10,000 and more.
    assert memory < 5_000, memory
    assert all(count < 100 for count in counts), counts


def test_a_thousand_connections_leave_nothing_behind(serve):
    served = serve(hello, validate=False, quiet=True)

    def ask():
        with served.client() as client:
            assert client.get(headers="Connection: close\r\n").status == 200
        served.clients.clear()

    memory, counts = grown(ask, 200)
    assert memory < 5_000, memory
    assert all(count < 100 for count in counts), counts


def test_descriptors_are_not_left_open(serve):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc here")

    def app(environ, start_response):
        environ["werkzeug.socket"].getpeername()
        return hello(environ, start_response)

    served = serve(app)
    assert served.get().status == 200
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with served.client() as client:
            assert client.get().status == 200
            assert client.get().status == 200

    def closed():
        # The last one's objects are freed when the interpreter is entered again.
        served.get()
        return len(os.listdir("/proc/self/fd")) <= before + 3

    eventually(closed)


def test_pipelined_requests_are_answered_in_order(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        body = environ["PATH_INFO"].encode() + environ["wsgi.input"].read(100)
        return [body] if len(body) % 2 else iter([body])

    client = serve(app).client()
    for number in range(100):
        client.request(f"/{number}", method="POST", body=b"x" * (number % 5))
    for number in range(100):
        assert client.answer().body == b"/%d" % number + b"x" * (number % 5)


def test_many_clients_at_once(serve):
    def app(environ, start_response):
        body = environ["wsgi.input"].read(1 << 20)
        start_response("200 OK", PLAIN)
        return iter([body[:5], body[5:]])

    served = serve(app)
    wrong = []

    def ask(name):
        with served.client() as client:
            for number in range(30):
                body = f"{name} {number} ".encode() * (1 + number * 40)
                answer = client.get(method="POST", body=body)
                if answer.body != body:
                    wrong.append(answer)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert not wrong and not any(asker.is_alive() for asker in askers)


def test_clients_that_leave_at_any_moment(serve, log):
    def app(environ, start_response):
        environ["wsgi.input"].read(1 << 20)
        start_response("200 OK", PLAIN)
        return iter([b"x" * 100_000] * 5)

    served = serve(app, validate=False)
    whole = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
    for end in range(0, len(whole) + 1, 3):
        with served.client() as client:
            client.send(whole[:end])
            if end % 2:
                # A reset instead of an orderly end.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert served.get(method="POST", body=b"").status == 200
    served.stop()
    assert "panic" not in log.text


FULL = """
    import os, resource, sys, time
    import amboss

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"Hello"]

    server = amboss.make_server("127.0.0.1", 0, app, threaded=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(server.port)
    while not os.path.exists("go-on"):
        time.sleep(0.005)
    server.serve_forever()
"""


def test_clients_that_take_all_descriptors_before_it_serves_do_not_end_it(script, tmp_path):
    program = script(FULL)
    eventually(lambda: program.out.endswith("\n"))
    address = ("127.0.0.1", int(program.out))
    clients = [Client(address) for _ in range(90)]
    (tmp_path / "go-on").touch()
    for client in clients:
        with client:
            assert client.get(headers="Connection: close\r\n").body == b"Hello", program.err
    assert program.process.poll() is None, program.err
