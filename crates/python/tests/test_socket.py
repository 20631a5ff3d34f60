"""``werkzeug.socket``: a blocking socket for one request, which takes over the connection when it is written to."""

import gc
import os
import select
import socket
import threading

import pytest

from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]
MINE = b"HTTP/1.1 201 By Hand\r\nContent-Length: 4\r\n\r\nmine"


def on_socket(run):
    """Returns an application that runs ``run(environ, socket)`` for ``/socket`` and sends the result on the socket."""

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/socket":
            output = run(environ, environ["werkzeug.socket"])
            length = b"%d" % len(output)
            environ["werkzeug.socket"].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + output)
        start_response("200 OK", PLAIN)
        return [b"served"]

    return app


@pytest.mark.parametrize("options", [{}, {"threaded": False}])
def test_receiving_blocks(serve, options):
    def echo(environ, peer):
        assert peer.gettimeout() is None and peer.timeout is None and peer.getblocking()
        return peer.recv(100)

    client = serve(on_socket(echo), **options).client().request("/socket")
    # The application asks for data before the client sends it.
    client.socket.settimeout(0.05)
    with pytest.raises(socket.timeout):
        client.socket.recv(1)
    client.socket.settimeout(TIMEOUT)
    assert client.send(b"hello").read_response().body == b"hello"
    assert client.read_to_end() == b""


def test_large_data_is_sent_completely(serve):
    def app(environ, start_response):
        environ["werkzeug.socket"].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000)
        start_response("200 OK", PLAIN)
        return []

    response = serve(app).get()
    assert (response.status, len(response.body), response.complete) == (200, 20_000_000, True)


LARGE = b"x" * 20_000_000

#: Ways to send that return the number of bytes: all of them, as for a blocking system socket.
SENDS = {
    "send": lambda peer: peer.send(LARGE),
    "sendmsg": lambda peer: peer.sendmsg([LARGE[:5], bytearray(LARGE[5:])]),
    "sendto": lambda peer: peer.sendto(LARGE, ("127.0.0.1", 1)),
    "dup": lambda peer: peer.dup().send(LARGE),
}


@pytest.mark.parametrize("how", SENDS)
def test_one_send_sends_all_of_its_data(serve, how):
    sent = []

    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        sent.append(SENDS[how](peer))
        start_response("200 OK", PLAIN)
        return []

    response = serve(app).get()
    # The client may have the whole response before the application's thread returns from its call.
    wait_until(lambda: sent)
    assert (sent, len(response.body), response.complete) == ([20_000_000], 20_000_000, True)


def test_msg_waitall_receives_all_of_the_data(serve):
    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        peer.sendall(b"go")
        buffer = bytearray(5)
        assert peer.recv_into(buffer, 5, socket.MSG_WAITALL) == 5
        with peer:
            peer.sendall(bytes(buffer) + peer.recv(5, socket.MSG_WAITALL))
        start_response("200 OK", PLAIN)
        return []

    client = serve(app).client().request("/")
    # Bytes that arrive with the head are not left in the socket.
    assert client.socket.recv(2) == b"go"
    for byte in b"0123456789":
        client.send(bytes([byte]))
    assert client.read_to_end() == b"0123456789"


def test_files_and_streams_are_sent_completely(serve, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"y" * 3_000_000)

    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        stream = peer.makefile("wb")
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n")
        stream.flush()
        with open(path, "rb") as file:
            assert peer.sendfile(file) == 3_000_000
        assert peer.sendmsg([b"x"]) == 1
        stream.write(b"x" * 2_999_999)
        stream.close()
        start_response("200 OK", PLAIN)
        return []

    response = serve(app).get()
    assert (response.status, len(response.body), response.complete) == (200, 6_000_000, True)


def test_the_application_sets_the_timeouts(serve):
    def ask(environ, peer):
        peer.settimeout(0.01)
        assert peer.gettimeout() == 0.01
        with pytest.raises(socket.timeout):
            peer.recv(1)
        for nonblocking in (lambda: peer.setblocking(False), lambda: peer.settimeout(0)):
            nonblocking()
            assert peer.gettimeout() == 0 and not peer.getblocking()
            with pytest.raises(BlockingIOError):
                peer.recv(1)
            peer.setblocking(True)
            assert peer.gettimeout() is None and peer.getblocking()
        copy = peer.dup()
        assert copy.gettimeout() is None and copy.getpeername() == peer.getpeername()
        # The descriptor's mode is shared with the server, whose event loop never blocks.
        assert os.get_blocking(peer.fileno()) is False
        return b"asked"

    assert serve(on_socket(ask)).get("/socket").body == b"asked"


BODIES = {
    "nothing": lambda: [],
    "a body": lambda: [b"the server's"],
    "several blocks": lambda: [b"the", b"server's"],
    "a generator": lambda: (block for block in [b"the", b"server's"]),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("options", [{}, {"threaded": False}])
def test_the_server_adds_nothing_to_a_response_on_the_socket(serve, log, options, case):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/hello":
            start_response("200 OK", PLAIN)
            return [b"hello"]
        environ["werkzeug.socket"].sendall(MINE)
        start_response("200 OK", PLAIN)
        return BODIES[case]()

    served = serve(app, **options)
    client = served.client()
    # Responses to earlier requests are sent first; later requests are not answered.
    client.request("/hello").request("/hello").request("/mine").request("/hello")
    assert [client.read_response().body for _ in range(2)] == [b"hello"] * 2
    response = client.read_response()
    assert (response.status, response.body) == (201, b"mine")
    assert client.read_to_end() == b""
    log.wait_for('"GET /mine HTTP/1.1" 201')
    assert "Traceback" not in log.text and "500" not in log.text


def test_start_response_is_not_needed_after_writing_to_the_socket(serve, log):
    def app(environ, start_response):
        environ["werkzeug.socket"].sendall(MINE)
        return []

    client = serve(app, validate=False).client().request()
    assert client.read_response().body == b"mine" and client.read_to_end() == b""
    log.wait_for('"GET / HTTP/1.1" 201')
    assert "start_response" not in log.text


def test_an_error_after_writing_is_logged_and_sends_nothing(serve, log):
    def app(environ, start_response):
        environ["werkzeug.socket"].sendall(MINE)
        if environ["PATH_INFO"] == "/error":
            raise ValueError("what went wrong")
        raise ConnectionError("frameworks do")

    served = serve(app, validate=False)
    for path in ("/error", "/end"):
        client = served.client().request(path)
        assert client.read_response().body == b"mine" and client.read_to_end() == b""
    log.wait_for('"GET /end HTTP/1.1" 201')
    assert "ValueError: what went wrong" in log.text and "frameworks do" not in log.text


KEPT = {
    "the object": lambda peer: (peer.getpeername(), lambda data: peer.send(data))[1],
    "the object, not used": lambda peer: lambda data: peer.send(data),
    "a method": lambda peer: peer.sendall,
    "a copy": lambda peer: peer.dup().sendall,
    "a copy of a copy": lambda peer: peer.dup().dup().send,
    "a stream": lambda peer: peer.makefile("wb", buffering=0).write,
}


@pytest.mark.parametrize("case", KEPT)
def test_a_socket_is_closed_when_its_request_ends(serve, case):
    kept = []

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/keep":
            kept.append(KEPT[case](environ["werkzeug.socket"]))
        else:
            with pytest.raises(OSError):
                kept[0](b"HTTP/1.1 500 Not For You\r\n\r\n")
        start_response("200 OK", PLAIN)
        return [b"served"]

    client = serve(app, validate=False).client()
    assert client.get("/keep").body == b"served"
    # A write to the kept socket fails between two requests, and during the next one.
    with pytest.raises(OSError):
        kept[0](b"HTTP/1.1 500 Not For You\r\n\r\n")
    for _ in range(2):
        response = client.get("/other")
        assert (response.status, response.body) == (200, b"served")


def test_a_thread_that_waits_on_a_socket_returns_when_the_request_ends(serve):
    raised = []

    def wait(peer):
        try:
            raised.append(peer.recv(1))
        except OSError as error:
            raised.append(error)

    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        peer.getpeername()
        thread = threading.Thread(target=wait, args=(peer,))
        thread.start()
        start_response("200 OK", PLAIN)
        return [b"served"]

    client = serve(app, validate=False).client()
    assert client.get().body == b"served"
    client.close()
    wait_until(lambda: raised)


def test_the_socket_is_valid_until_the_body_ends(serve):
    kept = []

    def app(environ, start_response):
        peer = environ["werkzeug.socket"]
        kept.append(peer)
        start_response("200 OK", PLAIN)
        yield b"one "
        name = peer.getpeername()
        yield str(name[1]).encode()

    client = serve(app, validate=False).client()
    for _ in range(2):
        assert client.get().body == b"one %d" % client.socket.getsockname()[1]
    wait_until(lambda: repr(kept[0]) == "<socket of a request that is over>")
    with pytest.raises(OSError):
        kept[0].getpeername()
    # The descriptor is that of a closed socket.
    assert kept[0].fileno() == -1
    kept[0].close()


def test_the_socket_works_with_select(serve):
    """simple-websocket waits on the descriptor in this way."""
    waiting = threading.Event()

    def wait(environ, peer):
        waiting.set()
        assert select.select([peer], [], [], TIMEOUT)[0] == [peer]
        return peer.recv(100)

    client = serve(on_socket(wait)).client().request("/socket")
    assert waiting.wait(TIMEOUT)
    assert client.send(b"here").read_response().body == b"here"


def test_the_socket_leaves_no_descriptor_open(serve):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc here")

    def app(environ, start_response):
        environ["werkzeug.socket"].dup().getpeername()
        environ["werkzeug.socket"].makefile("rb")
        start_response("200 OK", PLAIN)
        return [b"served"]

    served = serve(app, validate=False)
    client = served.client()
    client.get()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert client.get().body == b"served"
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        gc.enable()


def test_status_101_in_start_response_explains_what_to_do(serve, log):
    def app(environ, start_response):
        start_response("101 Switching Protocols", [("Upgrade", "echo")])
        return []

    served = serve(app, validate=False)
    assert served.get(headers="Connection: Upgrade\r\nUpgrade: echo\r\n").status == 500
    assert "environ['werkzeug.socket']" in log.wait_for('HTTP/1.1" 500')
    assert "on_upgrade" not in log.text


# Flask-Sock and simple-websocket with a real client.

ECHO = """
    import sys
    import flask, flask_sock, simple_websocket
    import amboss

    app = flask.Flask("echo")
    app.config["SOCK_SERVER_OPTIONS"] = eval(sys.argv[2])
    sock = flask_sock.Sock(app)

    @sock.route("/echo")
    def echo(ws):
        while True:
            data = ws.receive()
            if data == "bye":
                break
            if data == "fail":
                raise LookupError("no echo")
            ws.send(data)

    @app.route("/plain")
    def plain():
        return "plain"

    amboss.run_simple("127.0.0.1", 0, app, **eval(sys.argv[1]))
"""


@pytest.fixture
def echo(script):
    websocket = pytest.importorskip("websocket")
    pytest.importorskip("flask_sock")
    opened = []

    def start(options="{}", of_the_socket="{}"):
        served = script(ECHO, options, of_the_socket)

        def connect():
            client = websocket.create_connection(f"ws://127.0.0.1:{served.port}/echo", timeout=TIMEOUT)
            opened.append(client)
            return client

        return served, connect

    yield start
    for client in opened:
        client.close()


@pytest.mark.parametrize(
    ("options", "of_the_socket"),
    [
        ("{}", "{}"),
        # With a ping interval, simple-websocket waits with a selector.
        ("{}", "{'ping_interval': 20}"),
        ("{'threaded': False}", "{}"),
        ("{'processes': 4}", "{}"),
    ],
)
def test_a_websocket_is_echoed(echo, options, of_the_socket):
    served, connect = echo(options, of_the_socket)
    for _ in range(2):
        client = connect()
        for message in ["one", "two", "\u20ac" * 1000, "x" * 1_000_000]:
            client.send(message)
            assert client.recv() == message
        client.send_binary(bytes(range(256)) * 400)
        assert client.recv() == bytes(range(256)) * 400
        client.send("bye")
        code, data = client.recv_data()
        assert (code, data[:2]) == (8, b"\x03\xe8")  # closed normally
    assert served.get("/plain").body == b"plain"
    wait_until(lambda: (served.out + served.err).count('"GET /echo HTTP/1.1" 101') == 2)
    text = served.wait_for('"GET /plain HTTP/1.1" 200')
    assert "Traceback" not in text and " 400 " not in text and " 500 " not in text


def test_websockets_and_requests_run_concurrently(echo):
    served, connect = echo()
    clients = [connect() for _ in range(5)]
    for number in range(20):
        for client in clients:
            client.send(f"message {number}")
        for client in clients:
            assert client.recv() == f"message {number}"
        assert served.get("/plain").body == b"plain"


def test_a_disconnect_ends_a_websocket(echo):
    served, connect = echo("{'threads': 1}")
    for _ in range(3):
        client = connect()
        client.send("one")
        assert client.recv() == "one"
        client.sock.close()
        # The only thread is free again.
        assert served.get("/plain").body == b"plain"


def test_an_error_in_a_websockets_handler_is_logged(echo):
    served, connect = echo()
    client = connect()
    client.send("fail")
    with pytest.raises(Exception):
        while client.recv():
            pass
    assert "LookupError: no echo" in served.wait_for("no echo")
    assert served.get("/plain").body == b"plain"
