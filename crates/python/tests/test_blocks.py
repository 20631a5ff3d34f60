"""Response bodies: blocks, lengths, and responses that must not have a body."""

import pytest

PLAIN = [("Content-Type", "text/plain")]


def answering(blocks, headers=(), status="200 OK"):
    """Returns an application that responds with these blocks."""

    def app(environ, start_response):
        start_response(status, PLAIN + list(headers))
        return blocks() if callable(blocks) else blocks

    return app


def test_every_block_is_sent_at_once(serve, gate):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"one"
        assert gate.wait()
        yield b"two"

    client = serve(app).client().request()
    assert client.read_head().header("Transfer-Encoding") == "chunked"
    assert client.read_chunk() == b"one"
    gate.open()
    assert (client.read_chunk(), client.read_chunk()) == (b"two", b"")


def test_every_block_is_sent_at_once_if_the_length_is_known(serve, gate):
    def app(environ, start_response):
        start_response("200 OK", PLAIN + [("Content-Length", "6")])
        yield b"one"
        assert gate.wait()
        yield b"two"

    client = serve(app).client().request()
    assert client.read_head().header("Content-Length") == "6"
    assert client.read_exactly(3) == b"one"
    gate.open()
    assert client.read_exactly(3) == b"two"


def test_an_http_1_0_response_ends_with_the_connection(serve):
    client = serve(answering(lambda: iter([b"one", b"two"]))).client()
    response = client.send(b"GET / HTTP/1.0\r\n\r\n").read_response()
    assert (response.body, response.header("Transfer-Encoding"), client.is_closed()) == (b"onetwo", None, True)


BODIES = {
    "a list": ([b"one", b"two"], b"onetwo"),
    "a tuple": ((b"one", b"two"), b"onetwo"),
    "an empty list": ([], b""),
    "an empty tuple": ((), b""),
    "nothing but empty blocks": ([b"", b"", b""], b""),
    "empty blocks between others": ([b"", b"one", b"", b"", b"two", b""], b"onetwo"),
    "a generator": (lambda: (block for block in (b"one", b"", b"two")), b"onetwo"),
    "an iterator": (lambda: iter([b"one"]), b"one"),
    "a dict": ({b"one": 1, b"two": 2}, b"onetwo"),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("validate", [True, False])
def test_blocks_arrive_unchanged(serve, case, validate):
    blocks, body = BODIES[case]
    client = serve(answering(blocks), validate=validate).client()
    for _ in range(2):
        response = client.get()
        assert (response.status, response.body, response.complete) == (200, body, True)


def test_empty_blocks_send_nothing_not_even_the_head(serve, gate, log):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b""
        assert gate.wait()
        # The head has not been sent, so it can be replaced.
        start_response("404 Not Found", PLAIN, (ValueError, ValueError("x"), None))
        yield b"body"

    client = serve(app).client().request()
    gate.open()
    assert client.read_response().status == 404


def test_an_empty_block_does_not_end_a_chunked_body(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"one"
        yield b""
        yield b"two"

    client = serve(app).client().request()
    client.read_head()
    assert [client.read_chunk() for _ in range(3)] == [b"one", b"two", b""]


@pytest.mark.parametrize("blocks", [[b"Hello"], (b"Hello",)])
def test_a_list_of_one_block_has_a_content_length(serve, blocks):
    response = serve(answering(blocks), validate=False).get()
    assert (response.header("Content-Length"), response.header("Transfer-Encoding")) == ("5", None)


@pytest.mark.parametrize("blocks", [[b"one", b"two"], (b"one", b"", b"two")])
def test_a_list_of_blocks_has_a_content_length_and_keeps_an_http_1_0_connection_open(serve, blocks):
    client = serve(answering(blocks), validate=False).client()
    for _ in range(2):
        response = client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").read_response()
        assert (response.body, response.header("Content-Length"), response.header("Transfer-Encoding")) == (
            b"onetwo",
            "6",
            None,
        )


def test_large_blocks_of_a_list_are_sent_one_by_one(serve):
    client = serve(answering([b"a" * 60_000, b"b" * 60_000]), validate=False).client().request()
    assert client.read_head().header("Transfer-Encoding") == "chunked"
    assert (client.read_chunk(), client.read_chunk(), client.read_chunk()) == (b"a" * 60_000, b"b" * 60_000, b"")


def test_an_empty_list_has_content_length_0(serve):
    assert serve(answering([]), validate=False).get().header("Content-Length") == "0"


@pytest.mark.parametrize("block", ["text", bytearray(b"array"), 1, None])
def test_a_block_that_is_not_bytes_is_a_500(serve, log, block):
    for blocks in ([block], [block, b"more"], lambda: iter([block])):
        assert serve(answering(blocks), validate=False).get().status == 500
    log.wait_for(f"a block of the body must be bytes, not {type(block).__name__}")


def test_a_str_block_truncates_the_response_after_the_head_is_sent(serve, log):
    response = serve(answering([b"bytes", "text"]), validate=False).get()
    assert (response.status, response.body, response.complete) == (200, b"bytes", False)
    log.wait_for("must be bytes, not str; encode it")


def test_write_accepts_only_bytes(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)("text")
        return []

    assert serve(app, validate=False).get().status == 500


@pytest.mark.parametrize("result", [None, 5, "text"])
def test_a_result_that_is_not_an_iterable_of_bytes_is_a_500(serve, log, result):
    assert serve(answering(lambda: result), validate=False).get().status == 500
    log.wait_for("TypeError")


def test_a_result_of_bytes_is_a_500(serve, log):
    # Iterating over bytes yields integers.
    assert serve(answering(lambda: b"bytes"), validate=False).get().status == 500
    log.wait_for("TypeError")


@pytest.mark.parametrize("blocks", [[b"Hello World"], [b"Hel", b"lo World"], [b"Hello", b" World"]])
@pytest.mark.parametrize("way", ["list", "generator", "write"])
def test_content_length_is_never_exceeded(serve, blocks, way):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN + [("Content-Length", "5")])
        if way == "write":
            for block in blocks:
                write(block)
            return []
        return blocks if way == "list" else iter(blocks)

    client = serve(app, validate=False).client()
    for _ in range(2):
        response = client.get()
        assert (response.body, response.complete, client.buffer) == (b"Hello", True, b"")


@pytest.mark.parametrize("blocks", [[], [b"Hel"], [b"H", b"el"], lambda: iter([b"H", b"el"])])
def test_a_body_shorter_than_content_length_closes_the_connection(serve, log, blocks):
    client = serve(answering(blocks, [("Content-Length", "5")]), validate=False).client()
    response = client.get()
    assert (response.status, response.complete) == (200, False)
    assert response.body in (b"", b"Hel")
    log.wait_for("fewer bytes than it had declared")


def test_a_content_length_that_is_not_a_number_is_a_500(serve):
    for value in ("five", "-5", "5, 5", "+5", ""):
        assert serve(answering([b"Hello"], [("Content-Length", value)]), validate=False).get().status == 500


def test_two_content_lengths_are_a_500(serve):
    headers = [("Content-Length", "5"), ("Content-Length", "6")]
    assert serve(answering([b"Hello"], headers), validate=False).get().status == 500


@pytest.mark.parametrize("headers", [[], [("Content-Length", "100")]])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_body_that_fails_has_no_final_chunk(serve, log, headers, version):
    def app(environ, start_response):
        start_response("200 OK", PLAIN + headers)
        yield b"begun"
        raise ValueError("no more")

    client = serve(app).client().send(f"GET / HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
    head = client.read_head()
    if version == "1.0" and not headers:
        # A normal end would look like the end of the body, so only a reset shows the error.
        with pytest.raises(ConnectionResetError):
            while client.socket.recv(100):
                pass
    else:
        assert head.status == 200
        rest = client.read_to_end()
        assert rest in (b"5\r\nbegun\r\n", b"begun")
    log.wait_for("ValueError: no more")


def test_an_error_before_the_first_block_is_a_500(serve, log):
    def app(environ, start_response):
        start_response("200 OK", PLAIN + [("X-First", "yes")])
        yield b""
        raise ValueError("at once")

    response = serve(app).get()
    assert (response.status, response.header("X-First"), response.complete) == (500, None, True)
    log.wait_for("ValueError: at once")


BODILESS = {
    "HEAD": ("HEAD", "200 OK", 200),
    "204": ("GET", "204 No Content", 204),
    "304": ("GET", "304 Not Modified", 304),
}


@pytest.mark.parametrize("case", BODILESS)
@pytest.mark.parametrize("way", ["list", "lists", "generator", "write"])
def test_responses_that_must_not_have_a_body_have_none(serve, case, way):
    method, line, status = BODILESS[case]

    def app(environ, start_response):
        write = start_response(line, [("Content-Type", "text/plain")])
        if way == "write":
            write(b"body")
            return []
        return {"list": [b"body"], "lists": [b"bo", b"dy"], "generator": iter([b"bo", b"dy"])}[way]

    client = serve(app, validate=False).client()
    for _ in range(2):
        response = client.get(method=method)
        assert response.status == status
        if status == 204:
            assert response.header("Content-Length") is None and response.header("Transfer-Encoding") is None
        # No body precedes the next response.
        assert client.buffer == b""


def test_a_head_response_keeps_the_content_length_of_the_omitted_body(serve):
    app = answering([b"12345"])
    assert serve(app, validate=False).get(method="HEAD").header("Content-Length") == "5"
    app = answering([], [("Content-Length", "12345")])
    response = serve(app, validate=False).get(method="HEAD")
    assert (response.status, response.header("Content-Length")) == (200, "12345")


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_a_1xx_status_is_a_500(serve, log, status):
    response = serve(answering([b""], status=status), validate=False).get()
    assert response.status == 500
    log.wait_for("ValueError")


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 200_000, 5_000_000])
@pytest.mark.parametrize("way", ["list", "generator", "write"])
def test_blocks_of_every_size_arrive(serve, size, way):
    block = bytes(range(251)) * (size // 251 + 1)
    block = block[:size]

    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        if way == "write":
            write(block)
            return [b"."]
        return [block] if way == "list" else iter([block, b"."])

    response = serve(app, validate=False).get()
    assert response.body == (block if way == "list" else block + b".")


def test_many_small_blocks_arrive(serve):
    blocks = [b"%d," % number for number in range(20_000)]
    assert serve(answering(lambda: iter(blocks))).get().body == b"".join(blocks)
