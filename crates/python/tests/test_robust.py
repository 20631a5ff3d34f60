"""Misbehaving clients and thousands of requests: the server continues and leaks nothing."""

import gc
import os
import socket
import struct
import sys
import threading
import time
import tracemalloc

import pytest

from client import Client
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"Hello"]


@pytest.mark.parametrize("size", [10, 16_384, 100_000, 200_000])
def test_an_unread_upload_is_discarded_and_the_connection_continues(serve, size):
    client = serve(hello).client()
    for _ in range(3):
        assert client.get(method="POST", body=b"x" * size).body == b"Hello"


def test_a_large_unread_upload_gets_its_response(serve):
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
        response = client.read_response()
    finally:
        over.set()
        sender.join(TIMEOUT)
    assert (response.status, response.body) == (200, b"Hello")
    assert served.get().body == b"Hello"


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
@pytest.mark.parametrize("window", [2048, None])
def test_bytes_after_the_last_request_do_not_truncate_its_response(serve, tmp_path, kind, window):
    (tmp_path / "file").write_bytes(b"~" * 14_000)
    begun, sent = threading.Semaphore(0), threading.Semaphore(0)

    def app(environ, start_response):
        begun.release()
        assert sent.acquire(timeout=TIMEOUT)
        start_response("200 OK", PLAIN)
        if kind == "file":
            return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))
        block = b"~" * 14_000
        return [block] if kind == "list" else (part for part in [block])

    served = serve(app, validate=False)
    for _ in range(20):
        with socket.socket() as plain:
            plain.settimeout(TIMEOUT)
            if window:
                # A part of the response is still in the server's send buffer when the server closes.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            plain.connect(("127.0.0.1", served.port))
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert begun.acquire(timeout=TIMEOUT)
            plain.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            sent.release()
            # Long enough for the server to have closed the connection.
            time.sleep(0.02)
            response = b"".join(iter(lambda: plain.recv(4096), b""))
        assert response.count(b"~") == 14_000, len(response)


def test_slow_uploads_do_not_delay_other_requests(serve):
    seen = []

    def app(environ, start_response):
        seen.append(len(environ["wsgi.input"].read(1 << 30)))
        return hello(environ, start_response)

    # More clients than threads: an arriving body occupies none.
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
    assert [client.read_response().status for client in small + large] == [200] * 30
    assert sorted(seen) == [0] * 100 + [50] * 20 + [50_000] * 10


def test_slow_readers_do_not_delay_other_requests(serve):
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
        assert client.read_response().body == block * 20
        client.close()


def grown(action, times):
    """Returns the minimum growth of memory in bytes and of reference counts after ``times`` calls."""
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
        # A leak shows in every round. In the first ones, new objects also take the places of ones that were not traced.
        for _ in range(8):
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
def test_a_thousand_requests_leak_nothing(serve, app):
    served = serve(app, validate=False, quiet=True)
    client = served.client()

    def ask():
        client.request(method="POST", headers="X-A: b\r\nCookie: c=d\r\n", body=b"a line\nand another")
        response = client.read_response()
        if response.status == 103:
            response = client.read_response()
        assert response.status in (200, 500)

    memory, counts = grown(ask, 400)
    # One small object per request would be more than 10,000 bytes.
    assert memory < 5_000, memory
    assert all(count < 100 for count in counts), counts


def test_a_thousand_connections_leak_nothing(serve):
    served = serve(hello, validate=False, quiet=True)

    def ask():
        with served.client() as client:
            assert client.get(headers="Connection: close\r\n").status == 200
        served.clients.clear()

    memory, counts = grown(ask, 200)
    assert memory < 5_000, memory
    assert all(count < 100 for count in counts), counts


def test_no_descriptor_is_left_open(serve):
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
        # The last request's objects are freed when the interpreter is entered again.
        served.get()
        return len(os.listdir("/proc/self/fd")) <= before + 3

    wait_until(closed)


def test_pipelined_requests_are_answered_in_order(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        body = environ["PATH_INFO"].encode() + environ["wsgi.input"].read(100)
        return [body] if len(body) % 2 else iter([body])

    client = serve(app).client()
    for number in range(100):
        client.request(f"/{number}", method="POST", body=b"x" * (number % 5))
    for number in range(100):
        assert client.read_response().body == b"/%d" % number + b"x" * (number % 5)


def test_many_concurrent_clients_get_their_own_responses(serve):
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
                response = client.get(method="POST", body=body)
                if response.body != body:
                    wrong.append(response)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert not wrong and not any(asker.is_alive() for asker in askers)


def test_clients_may_disconnect_at_any_moment(serve, log):
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
                # A reset instead of a normal close.
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


def test_a_server_without_free_descriptors_starts_and_serves(script, tmp_path):
    program = script(FULL)
    wait_until(lambda: program.out.endswith("\n"))
    address = ("127.0.0.1", int(program.out))
    clients = [Client(address) for _ in range(90)]
    (tmp_path / "go-on").touch()
    for client in clients:
        with client:
            assert client.get(headers="Connection: close\r\n").body == b"Hello", program.err
    assert program.process.poll() is None, program.err
