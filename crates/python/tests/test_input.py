"""``wsgi.input``: the request body as a file that ends where the body ends.

The body is complete before the application is called. With ``body_mode="stream"`` it is read as it arrives, and reading
raises if the body is broken.
"""

import io
import threading

import amboss
import pytest

from greenlets import needs_threads
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def chunked(*blocks):
    """Encodes the blocks in the chunked coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in (*blocks, b""))


def reading(read, seen):
    """Returns an application that stores the result of ``read`` on its input."""

    def app(environ, start_response):
        assert environ["wsgi.input_terminated"] is True
        try:
            seen.append(read(environ["wsgi.input"]))
        except Exception as error:
            seen.append(error)
            raise
        start_response("200 OK", PLAIN)
        return [b"read"]

    return app


BODY = b"first line\nsecond\n\nfourth, without an end"

#: Operations on the input. The same operations are applied to a file with the same content.
READS = {
    "read()": lambda file: file.read(),
    "read(-1)": lambda file: file.read(-1),
    "read(None)": lambda file: file.read(None),
    "read(0)": lambda file: (file.read(0), file.read()),
    "read(5) twice": lambda file: (file.read(5), file.read(5), file.read()),
    "read(more than there is)": lambda file: (file.read(1000), file.read(1000)),
    "read(1) to the end": lambda file: list(iter(lambda: file.read(1), b"")),
    "read() twice": lambda file: (file.read(), file.read(), file.read(3)),
    "readline()": lambda file: [file.readline() for _ in range(6)],
    "readline(3)": lambda file: list(iter(lambda: file.readline(3), b"")),
    "readline(0)": lambda file: (file.readline(0), file.read()),
    "readline(-1)": lambda file: (file.readline(-1), file.read()),
    "readline(None)": lambda file: (file.readline(None), file.read()),
    "readline(exactly a line)": lambda file: (file.readline(11), file.readline(10), file.readline(7)),
    "readline(one less)": lambda file: (file.readline(10), file.readline(10)),
    "readlines()": lambda file: (file.readlines(), file.readlines()),
    "readlines(1)": lambda file: (file.readlines(1), file.read()),
    "readlines(12)": lambda file: (file.readlines(12), file.read()),
    "readlines(0)": lambda file: file.readlines(0),
    "readlines(-1)": lambda file: file.readlines(-1),
    "readlines(None)": lambda file: file.readlines(None),
    "iteration": lambda file: list(file),
    "iteration in between": lambda file: (file.read(3), next(iter(file), b""), file.readline(), list(file)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("body", [BODY, b"", b"\n", BODY * 2000], ids=["short", "none", "a line feed", "long"])
def test_the_input_reads_like_a_file(serve, read, body):
    expected = READS[read](io.BytesIO(body))
    seen = []
    # The validator's wrapper lacks some methods of files.
    served = serve(reading(READS[read], seen), validate=False)
    client = served.client()
    assert client.get(method="POST", body=body).status == 200
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    middle = len(body) // 3
    blocks = [block for block in (body[:middle], body[middle : middle + 1], body[middle + 1 :]) if block]
    client.send(chunked(*blocks))
    assert client.read_response().status == 200
    assert seen == [expected, expected]


def test_without_a_body_there_is_nothing_to_read(serve):
    for read in READS:
        seen = []
        assert serve(reading(READS[read], seen), validate=False).get().status == 200
        assert seen == [READS[read](io.BytesIO())], read


@pytest.mark.parametrize("argument", ["5", 5.0, b"5", [], object()])
@pytest.mark.parametrize("body", [None, b"body"])
def test_a_size_that_is_not_an_int_is_a_type_error(serve, argument, body):
    for name in ("read", "readline", "readlines"):
        seen = []
        app = reading(lambda file: getattr(file, name)(argument), seen)
        assert serve(app, validate=False).get(method="POST", body=body).status == 500
        assert isinstance(seen[0], TypeError)


def test_a_streamed_input_arrives_in_pieces(serve, gate):
    seen = []

    def read(file):
        seen.append(file.readline())
        gate.open()
        return file.read()

    served = serve(reading(read, seen), validate=False, body_mode="stream")
    client = served.client().request(method="POST", headers="Content-Length: 30000\r\n")
    client.send(b"first\n")
    assert gate.wait()
    client.send(b"x" * 29994)
    assert client.read_response().status == 200
    assert seen == [b"first\n", b"x" * 29994]


@pytest.mark.parametrize("read", ["read()", "readlines()", "iteration", "read(1) to the end"])
@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_truncated_body_raises(serve, read, coding, size):
    seen = []
    served = serve(reading(READS[read], seen), validate=False, body_mode="stream")
    client = served.client()
    body = b"x" * (size // 2)
    if coding == "length":
        client.request(method="POST", headers=f"Content-Length: {size}\r\n").send(body)
    else:
        client.request(method="POST", headers="Transfer-Encoding: chunked\r\n").send(b"%x\r\n%s" % (size, body))
    client.socket.shutdown(1)
    # The client has only shut down its sending side, so it can receive the response.
    assert client.read_response().status == 400
    wait_until(lambda: seen)
    assert isinstance(seen[0], amboss.InputError) and isinstance(seen[0], OSError)
    assert "before the request body was complete" in str(seen[0])


BROKEN = [
    b"x\r\nabc\r\n0\r\n\r\n",
    b"5\r\nabc\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
    b"3\r\nabcde\r\n0\r\n\r\n",
    b"3;a\nb\r\nabc\r\n",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("before", [0, 100_000])
def test_a_malformed_body_raises(serve, broken, before):
    seen = []
    served = serve(reading(lambda file: file.read(), seen), validate=False, body_mode="stream")
    client = served.client().request(method="POST", headers="Transfer-Encoding: chunked\r\n")
    start = chunked(b"x" * before)[: -len(b"0\r\n\r\n")] if before else b""
    client.send(start + broken)
    assert client.read_response().status == 400
    if before:
        assert isinstance(seen[0], amboss.InputError) and "malformed" in str(seen[0])
    assert client.is_closed()


def test_an_unhandled_error_of_the_body_is_not_a_500(serve, log):
    served = serve(
        lambda environ, start_response: environ["wsgi.input"].read() and [], validate=False, body_mode="stream"
    )
    client = served.client().request(method="POST", headers="Transfer-Encoding: chunked\r\n")
    client.send(chunked(b"x" * 100_000)[:-5] + b"zz\r\n")
    assert client.read_response().status == 400


def test_100_continue_is_sent_only_on_the_first_read(serve, gate):
    order = []

    def app(environ, start_response):
        assert gate.wait()
        order.append(environ["wsgi.input"].read(2))
        order.append(environ["wsgi.input"].read())
        start_response("200 OK", PLAIN)
        return [b"read"]

    served = serve(app, validate=False, body_mode="stream")
    client = served.client().request(method="POST", headers="Expect: 100-continue\r\nContent-Length: 5\r\n")
    client.socket.settimeout(0.2)
    with pytest.raises(OSError):
        client.receive()
    client.socket.settimeout(TIMEOUT)
    gate.open()
    assert client.read_head()[:2] == (100, "Continue")
    client.send(b"abcde")
    response = client.read_response()
    assert (response.status, response.body, order) == (200, b"read", [b"ab", b"cde"])


@pytest.mark.parametrize("result", [lambda: [b"no"], lambda: [b"n", b"o"], lambda: iter([b"n", b"o"]), lambda: []])
def test_100_continue_is_not_sent_for_a_body_that_is_not_read(serve, result):
    def app(environ, start_response):
        start_response("403 Forbidden", PLAIN)
        return result()

    client = (
        serve(app, body_mode="stream")
        .client()
        .request(method="POST", headers="Expect: 100-continue\r\nContent-Length: 5\r\n")
    )
    assert client.read_response().status == 403
    assert client.is_closed()


def test_100_continue_is_not_sent_after_the_response_has_begun(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)(b"begun")
        environ["wsgi.input"].read(10)
        return []

    client = (
        serve(app, body_mode="stream")
        .client()
        .request(method="POST", headers="Expect: 100-continue\r\nContent-Length: 5\r\n")
    )
    assert client.read_head().status == 200
    assert client.read_chunk() == b"begun"
    client.send(b"abcde")
    assert client.read_chunk() == b""


@pytest.mark.parametrize("size", [5, 16384, 16385, 300_000, 3_000_000])
@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("mode", ["collect", "stream"])
def test_a_generator_can_read_after_the_response_has_begun(serve, size, coding, mode):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"begun "
        while True:
            piece = environ["wsgi.input"].read(1000)
            if not piece:
                return
            yield piece

    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    client = serve(app, body_mode=mode).client()
    for _ in range(2):
        if coding == "length":
            client.request(method="POST", body=body)
        else:
            client.request(method="POST", headers="Transfer-Encoding: chunked\r\n").send(chunked(body[:3], body[3:]))
        assert client.read_response().body == b"begun " + body


def test_a_generator_can_echo_while_the_client_is_sending(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        for line in iter(environ["wsgi.input"].readline, b""):
            yield line

    client = serve(app, body_mode="stream").client().request(method="POST", headers="Transfer-Encoding: chunked\r\n")
    for number in range(3):
        line = b"line %d\n" % number
        client.send(b"%x\r\n%s\r\n" % (len(line), line))
        if number == 0:
            client.read_head()
        assert client.read_chunk() == line
    client.send(b"0\r\n\r\n")
    assert client.read_chunk() == b""


def test_the_input_can_not_be_read_after_the_response(serve):
    kept = []

    def app(environ, start_response):
        kept.append(environ["wsgi.input"])
        start_response("200 OK", PLAIN)
        return [b"done"]

    assert serve(app, validate=False).get(method="POST", body=b"body").status == 200
    with pytest.raises(ValueError, match="has been answered"):
        kept[0].read()


@needs_threads
def test_the_input_can_be_read_in_another_thread(serve):
    def app(environ, start_response):
        seen = []
        reader = threading.Thread(target=lambda: seen.append(environ["wsgi.input"].read()))
        reader.start()
        reader.join(TIMEOUT)
        start_response("200 OK", PLAIN)
        return seen

    body = b"x" * 500_000
    assert serve(app, validate=False).get(method="POST", body=body).body == body


def test_a_content_length_alone_reserves_no_memory(serve, gate):
    seen = []

    def app(environ, start_response):
        gate.open()
        try:
            environ["wsgi.input"].read()
        except Exception as error:
            seen.append(error)
            raise
        start_response("200 OK", PLAIN)
        return [b"read"]

    served = serve(app, validate=False, body_mode="stream")
    client = served.client().request(method="POST", headers=f"Content-Length: {1 << 50}\r\n").send(b"abc")
    assert gate.wait()
    client.close()
    assert served.get().body == b"read"
    wait_until(lambda: seen)
    assert isinstance(seen[0], amboss.InputError)


def describe(environ, start_response):
    """Responds with the environ's description of the body, and with the body's length and checksum."""
    body = environ["wsgi.input"].read()
    output = (environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"), len(body), sum(body) % 65521)
    start_response("200 OK", PLAIN)
    return [repr(output).encode()]


@pytest.mark.parametrize("size", [1, 300, 20_000, 3_000_000, 20_000_000])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_collected_body_has_a_length_and_no_transfer_coding(serve, size, coding, tmp_path):
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    bodies = tmp_path / "bodies"
    bodies.mkdir()
    client = serve(describe, validate=False, body_directory=str(bodies)).client()
    for _ in range(2):
        if coding == "length":
            client.request(method="POST", body=body)
        else:
            client.request(method="POST", headers="Transfer-Encoding: chunked\r\n")
            client.send(chunked(body[: size // 3 + 1], *([body[size // 3 + 1 :]] if size > 1 else [])))
        expected = (str(size), None, size, sum(body) % 65521)
        assert client.read_response().body == repr(expected).encode()
    # Files for bodies have no name.
    assert list(bodies.iterdir()) == []


def test_a_broken_collected_body_does_not_reach_the_application(serve):
    seen = []
    served = serve(reading(lambda file: file.read(), seen), validate=False)
    for start in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"):
        client = served.client()
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + start)
        client.socket.shutdown(1)
        assert client.read_response().status == 400
    client = served.client()
    client.request(method="POST", headers="Transfer-Encoding: chunked\r\n").send(b"zz\r\n")
    assert client.read_response().status == 400
    assert seen == []


def test_100_continue_is_sent_at_once_for_a_collected_body(serve):
    client = serve(describe, validate=False).client()
    client.request(method="POST", headers="Expect: 100-continue\r\nContent-Length: 5\r\n")
    assert client.read_head()[:2] == (100, "Continue")
    client.send(b"abcde")
    assert client.read_response().status == 200
    # A client that does not wait gets no 100, and keeps its connection.
    for _ in range(2):
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde")
        assert client.read_response().status == 200


@pytest.mark.parametrize("option", [{"body_mode": "later"}, {"body_directory": "/no/such/directory"}])
def test_invalid_body_options_are_rejected(option):
    with pytest.raises(ValueError, match="body_mode must be|is not a directory"):
        amboss.make_server("127.0.0.1", 0, describe, **option)


def test_slow_bodies_occupy_no_thread(serve):
    served = serve(describe, validate=False, threads=2)
    slow = []
    for number in range(50):
        client = served.client()
        if number % 2:
            client.request(method="POST", headers="Content-Length: 100000\r\n").send(b"x" * 50_000)
        else:
            client.request(method="POST", headers="Transfer-Encoding: chunked\r\n").send(b"5\r\nabc")
        slow.append(client)
    fast = served.client()
    for _ in range(20):
        assert fast.get().status == 200
    for number, client in enumerate(slow):
        client.send(b"x" * 50_000 if number % 2 else b"de\r\n0\r\n\r\n")
        assert client.read_response().status == 200
