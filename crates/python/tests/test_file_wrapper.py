"""``wsgi.file_wrapper``: real files are sent by the system, others are read block by block."""

import gzip
import io
import os
import tempfile
import threading

import amboss
import pytest

from waiting import wait_until

PLAIN = [("Content-Type", "text/plain")]
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def wrapping(make, headers=(), *arguments):
    """Returns an application that responds with a file, and a list of the files it has opened."""

    def app(environ, start_response):
        start_response("200 OK", PLAIN + list(headers))
        app.files.append(make())
        return environ["wsgi.file_wrapper"](app.files[-1], *arguments)

    app.files = []
    return app


def at(file, position):
    file.seek(position)
    return file


def read_ahead(file):
    """Reads a line, so that Python's buffer contains more than the file's position shows."""
    assert file.readline() == CONTENT[:11]
    return file


def gzipped(path):
    packed = path.with_suffix(".gz")
    with gzip.open(packed, "wb") as file:
        file.write(CONTENT)
    return gzip.open(packed)


def piped():
    reading, writing = os.pipe()

    def fill():
        with os.fdopen(writing, "wb") as file:
            file.write(CONTENT)

    threading.Thread(target=fill).start()
    return os.fdopen(reading, "rb")


def temporary(make):
    file = make()
    file.write(CONTENT)
    return at(file, 0)


#: The file to wrap, the content to expect, and whether the server knows its length.
FILES = {
    "a file": (lambda path: open(path, "rb"), CONTENT, True),
    "a file without a buffer": (lambda path: open(path, "rb", buffering=0), CONTENT, True),
    "a file opened for writing as well": (lambda path: open(path, "r+b"), CONTENT, True),
    "a file at a position": (lambda path: at(open(path, "rb"), 1000), CONTENT[1000:], True),
    "a file that was read from": (lambda path: read_ahead(open(path, "rb")), CONTENT[11:], True),
    "a file at its end": (lambda path: at(open(path, "rb"), len(CONTENT)), b"", True),
    "a file beyond its end": (lambda path: at(open(path, "rb"), 10**9), b"", True),
    "an empty file": (lambda path: open(os.devnull, "rb"), b"", False),
    "a named temporary file": (lambda path: temporary(tempfile.NamedTemporaryFile), CONTENT, True),
    "a temporary file": (lambda path: temporary(tempfile.TemporaryFile), CONTENT, True),
    "a spooled file": (lambda path: temporary(tempfile.SpooledTemporaryFile), CONTENT, False),
    "a packed file": (gzipped, CONTENT, False),
    "bytes": (lambda path: io.BytesIO(CONTENT), CONTENT, False),
    "bytes at a position": (lambda path: at(io.BytesIO(CONTENT), 5), CONTENT[5:], False),
    "a pipe": (lambda path: piped(), CONTENT, False),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("validate", [True, False])
def test_a_file_is_sent_from_its_position_and_closed(serve, path, case, validate):
    make, content, sized = FILES[case]
    app = wrapping(lambda: make(path))
    served = serve(app, validate=validate)
    client = served.client()
    for number in range(2):
        response = client.get()
        assert (response.status, response.complete) == (200, True)
        assert response.body == content
        if sized and not validate:
            assert response.header("Content-Length") == str(len(content))
        wait_until(lambda: app.files[number].closed)


def test_a_subclass_is_read_by_its_own_read(serve, path):
    class Loud(io.FileIO):
        def read(self, size=-1):
            return super().read(size).upper()

    path.write_bytes(b"abc")
    assert serve(wrapping(lambda: Loud(path)), validate=False).get().body == b"ABC"


def test_any_object_with_read_can_be_wrapped(serve):
    class Odd:
        closed = False
        blocks = iter([b"one", b"two", b""])

        def read(self, size):
            assert size == 99
            return next(self.blocks)

        def close(self):
            self.closed = True

    app = wrapping(Odd, (), 99)
    assert serve(app, validate=False).get().body == b"onetwo"
    wait_until(lambda: app.files[0].closed)


def test_a_file_without_close_can_be_wrapped(serve):
    class Odd:
        def __init__(self):
            self.blocks = iter([b"one", b""])

        def read(self, size):
            return next(self.blocks)

    assert serve(wrapping(Odd), validate=False).get().body == b"one"


def test_content_length_limits_the_part_of_the_file_that_is_sent(serve, path):
    served = serve(wrapping(lambda: at(open(path, "rb"), 10), [("Content-Length", "5")]), validate=False)
    client = served.client()
    for _ in range(2):
        response = client.get()
        assert (response.body, response.complete, client.buffer) == (CONTENT[10:15], True, b"")


def test_a_file_shorter_than_content_length_closes_the_connection(serve, path):
    app = wrapping(lambda: open(path, "rb"), [("Content-Length", str(len(CONTENT) + 5))])
    response = serve(app, validate=False).get()
    assert (response.body, response.complete) == (CONTENT, False)


def test_a_head_response_closes_the_file_without_sending_it(serve, path):
    app = wrapping(lambda: open(path, "rb"))
    client = serve(app, validate=False).client()
    response = client.get(method="HEAD")
    assert (response.status, response.header("Content-Length")) == (200, str(len(CONTENT)))
    wait_until(lambda: app.files[0].closed)
    assert client.get().body == CONTENT


def test_blocks_of_write_precede_the_file(serve, path):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)(b"first ")
        return environ["wsgi.file_wrapper"](open(path, "rb"))

    assert serve(app, validate=False).get().body == b"first " + CONTENT


def test_a_closed_file_is_a_500(serve, log, path):
    def closed():
        file = open(path, "rb")
        file.close()
        return file

    assert serve(wrapping(closed), validate=False).get().status == 500
    log.wait_for("ValueError")


def test_a_text_file_is_a_500_and_is_closed(serve, log, path):
    path.write_text("text")
    app = wrapping(lambda: open(path))
    assert serve(app, validate=False).get().status == 500
    log.wait_for("must be bytes, not str")
    wait_until(lambda: app.files[0].closed)


def test_a_file_is_closed_if_start_response_was_not_called(serve, path):
    files = []

    def app(environ, start_response):
        files.append(open(path, "rb"))
        return environ["wsgi.file_wrapper"](files[0])

    assert serve(app, validate=False).get().status == 500
    wait_until(lambda: files[0].closed)


def test_a_file_is_closed_if_the_client_disconnects(serve, tmp_path):
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(1 << 30)
    app = wrapping(lambda: open(large, "rb"))
    client = serve(app, validate=False).client().request()
    client.read_head()
    client.close()
    wait_until(lambda: app.files[0].closed)


def test_a_file_is_sent_over_tls(serve, path):
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    app = wrapping(lambda: at(open(path, "rb"), 7))
    served = serve(app, validate=False, ssl_context="adhoc")
    assert served.client(tls=context).get().body == CONTENT[7:]
    wait_until(lambda: app.files[0].closed)


def test_a_file_wrapper_is_iterable(path):
    with open(path, "rb") as file:
        wrapper = amboss.FileWrapper(file, 1000)
        assert b"".join(wrapper) == CONTENT
        assert wrapper.filelike is file and wrapper.blksize == 1000
        wrapper.close()
        assert file.closed


def test_the_default_block_size_is_8192():
    sizes = []

    class Odd:
        def read(self, size):
            sizes.append(size)
            return b""

    assert list(amboss.FileWrapper(Odd())) == []
    assert sizes == [8192]


def test_middleware_may_iterate_a_file_wrapper(serve, path):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return (block[::-1] for block in environ["wsgi.file_wrapper"](open(path, "rb"), len(CONTENT)))

    assert serve(app, validate=False).get().body == CONTENT[::-1]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc here")
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_that_reports_size_0_is_read_to_its_end(serve, buffering):
    app = wrapping(lambda: open("/proc/self/status", "rb", buffering=buffering))
    response = serve(app, validate=False).get()
    assert response.complete and response.body.startswith(b"Name:") and b"\nPid:" in response.body
    assert response.body.endswith(b"\n")
