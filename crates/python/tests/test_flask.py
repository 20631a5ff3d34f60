"""Flask: sessions, uploads, streams, errors, files, and callbacks after the response."""

import hashlib
import http.client
import os
import re
import socket

import pytest

pytest.importorskip("flask", reason="Flask is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import WAYS, serving  # noqa: E402
from waiting import TIMEOUT, wait_until  # noqa: E402

BYTES = bytes(range(256)) * 400


@pytest.fixture(scope="module", params=WAYS)
def flask(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flask")
    file = folder / "file.bin"
    file.write_bytes(BYTES)
    with serving("flask_app:both", folder, request.param, env={"AMBOSS_TEST_FILE": str(file)}) as program:
        yield program


@pytest.fixture
def client():
    with requests.Session() as session:
        yield session


def test_a_query_is_decoded(flask, client):
    response = client.get(f"{flask.url}/", params={"name": "Zoë"}, timeout=TIMEOUT)
    assert response.text == "Hello Zoë!\n"
    assert response.headers["Content-Length"] == str(len("Hello Zoë!\n".encode()))


def test_a_session_is_kept_in_a_cookie(flask, client):
    for number in range(1, 4):
        assert client.get(f"{flask.url}/visits", timeout=TIMEOUT).json() == {"visits": number}
    assert "session" in client.cookies
    # The redirect's Location contains the host and port that the client used.
    assert client.get(f"{flask.url}/forget", timeout=TIMEOUT).json() == {"visits": 1}
    assert requests.get(f"{flask.url}/visits", timeout=TIMEOUT).json() == {"visits": 1}


def test_a_form_with_a_file_of_50_mb_is_parsed(flask, client):
    data = b"0123456789abcdef" * (50_000_000 // 16)
    response = client.post(
        f"{flask.url}/upload",
        files={"file": ("grüße.bin", data, "application/octet-stream")},
        data={"title": "größer"},
        timeout=TIMEOUT,
    )
    assert response.json() == {
        "name": "grüße.bin",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "title": "größer",
    }


def test_an_upload_that_is_too_large_is_a_413(flask):
    with flask.connect() as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        connection.sendall(b"x" * (70_000_000 - len("--x\r\n")))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_upload_is_read(flask, client):
    data = [b"a" * 1000, b"b" * 70_000, b"c"]
    assert client.post(f"{flask.url}/echo", data=iter(data), timeout=TIMEOUT).content == b"".join(data)


def test_each_block_is_sent_when_it_is_yielded(flask, client):
    with requests.get(f"{flask.url}/blocks", stream=True, timeout=TIMEOUT) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        lines = response.iter_lines(chunk_size=None)
        for number in range(5):
            assert next(lines) == b"block %d" % number
            assert client.post(f"{flask.url}/next", timeout=TIMEOUT).status_code == 204
        assert list(lines) == []


def test_a_stream_keeps_its_request_context(flask, client):
    client.get(f"{flask.url}/visits", timeout=TIMEOUT)
    response = client.get(f"{flask.url}/context", params={"name": "world"}, timeout=TIMEOUT)
    assert response.text == "Hello world of 1 visits!"


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_stream_can_read_its_input_while_it_is_sent(flask, client, size, chunked):
    data = b"abcdefgh" * (size // 8)
    response = client.post(f"{flask.url}/shout", data=iter([data]) if chunked else data, timeout=TIMEOUT)
    assert response.content == data.upper()


@pytest.mark.parametrize("code", [400, 401, 403, 405, 409, 410, 413, 418, 429, 500, 503])
def test_abort_sends_its_status(flask, client, code):
    response = client.get(f"{flask.url}/abort/{code}", timeout=TIMEOUT)
    assert response.status_code == code
    assert re.search(rf"<title>{code} ", response.text)


def test_error_handlers_send_their_responses(flask, client):
    response = client.get(f"{flask.url}/nowhere%2Fat/äll", timeout=TIMEOUT)
    assert response.status_code == 404
    assert response.json() == {"error": "not found", "path": "/nowhere/at/äll"}
    response = client.get(f"{flask.url}/tea", timeout=TIMEOUT)
    assert (response.status_code, response.text, response.headers["Retry-After"]) == (503, "no tea\n", "60")


def test_an_unhandled_error_is_a_500_and_logs_pythons_traceback(flask, client):
    response = client.get(f"{flask.url}/fail", timeout=TIMEOUT)
    assert response.status_code == 500
    assert "Internal Server Error" in response.text
    log = flask.wait_for_log(r'RuntimeError: not handled: "é"\n')
    assert "    raise RuntimeError('not handled: \"é\"')\n" in log
    assert log.count("RuntimeError: not handled") == 1
    assert client.get(f"{flask.url}/", timeout=TIMEOUT).status_code == 200


def test_an_error_that_flask_propagates_is_logged_once_and_completely(flask, client):
    response = client.get(f"{flask.url}/loud/fail", timeout=TIMEOUT)
    assert response.status_code == 500
    log = flask.wait_for_log(r"RuntimeError: what Flask passes on\n")
    assert log.count("RuntimeError: what Flask passes on") == 1
    assert 'error on "GET /loud/fail HTTP/1.1": Traceback (most recent call last):\n' in log
    assert "KeyError: 'key'\n" in log
    assert "The above exception was the direct cause of the following exception:" in log


def test_the_client_notices_an_error_in_the_middle_of_a_stream(flask, client):
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.get(f"{flask.url}/fail-midway", timeout=TIMEOUT)
    log = flask.wait_for_log(r"RuntimeError: in the middle\n")
    assert log.count("RuntimeError: in the middle") == 1


def test_send_file_sends_the_whole_file_and_supports_head(flask, client):
    response = client.get(f"{flask.url}/file", timeout=TIMEOUT)
    assert response.content == BYTES
    response = client.head(f"{flask.url}/file", timeout=TIMEOUT)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(BYTES)))


@pytest.mark.parametrize(
    ("range_", "start", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("90000-", 90_000, len(BYTES)), ("-5", len(BYTES) - 5, len(BYTES))],
)
def test_send_file_sends_ranges(flask, client, range_, start, end):
    response = client.get(f"{flask.url}/file", headers={"Range": f"bytes={range_}"}, timeout=TIMEOUT)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(BYTES)}"
    assert response.content == BYTES[start:end]


def test_send_file_rejects_an_unsatisfiable_range(flask, client):
    response = client.get(f"{flask.url}/file", headers={"Range": "bytes=9999999-"}, timeout=TIMEOUT)
    assert response.status_code == 416


def test_send_file_sends_304_to_a_client_with_a_current_copy(flask, client):
    first = client.get(f"{flask.url}/file", timeout=TIMEOUT)
    for condition in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        response = client.get(f"{flask.url}/file", headers=condition, timeout=TIMEOUT)
        assert (response.status_code, response.content) == (304, b"")
    condition = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert client.get(f"{flask.url}/file", headers=condition, timeout=TIMEOUT).content == BYTES


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["whole", "stream", "empty"])
def test_call_on_close_does_not_delay_the_client(flask, client, kind, method):
    # The callback waits for a second request, which is sent after this response is complete.
    response = requests.request(method, f"{flask.url}/closing/{kind}", timeout=TIMEOUT / 2)
    assert response.status_code == (204 if kind == "empty" else 200)
    expected = {"whole": "whole\n", "stream": "0\n1\n2\n", "empty": ""}[kind]
    assert response.text == (expected if method == "GET" else "")
    assert client.get(f"{flask.url}/closed", timeout=TIMEOUT).json() == {"closed": False}
    assert client.post(f"{flask.url}/close", timeout=TIMEOUT).json() == {"closed": True}


def test_basic_authentication_works(flask, client):
    assert client.get(f"{flask.url}/secret", timeout=TIMEOUT).status_code == 401
    assert client.get(f"{flask.url}/secret", auth=("zoë", "sesame"), timeout=TIMEOUT).status_code in (200, 401)
    assert client.get(f"{flask.url}/secret", auth=("ann", "sesame"), timeout=TIMEOUT).text == "welcome ann\n"


def test_a_disconnect_ends_a_stream(flask, client):
    before = len(flask.log())
    with flask.connect() as connection:
        connection.sendall(b"GET /blocks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    # The generator waits for the client once or twice, and then notices the disconnect.
    for _ in range(5):
        client.post(f"{flask.url}/next", timeout=TIMEOUT)
    wait_until(lambda: '"GET /blocks HTTP/1.1" 200 ' in flask.log()[before:], "the access log line")
    assert "Traceback" not in flask.log()[before:]


def test_the_access_log_shows_status_size_and_path(flask, client):
    client.get(f"{flask.url}/?marker=lines%20here", timeout=TIMEOUT)
    flask.wait_for_log(
        r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] "
        r'"GET /\?marker=lines here HTTP/1\.1" 200 13 \d+\.\d{3}s\n'
    )


def test_many_requests_use_one_connection(flask):
    connection = http.client.HTTPConnection(flask.host, flask.port, timeout=TIMEOUT)
    connection.connect()
    here = connection.sock.getsockname()
    for number in range(100):
        connection.request("GET", f"/?name={number}")
        assert connection.getresponse().read() == f"Hello {number}!\n".encode()
        assert connection.sock is not None and connection.sock.getsockname() == here
    connection.close()


def test_no_descriptor_is_left_open(flask, client):
    # Answered requests leave no open descriptor.
    def count():
        return len(os.listdir(f"/proc/{flask.pid}/fd"))

    client.get(f"{flask.url}/", timeout=TIMEOUT)
    before = count()
    for _ in range(20):
        requests.get(f"{flask.url}/file", timeout=TIMEOUT)
    wait_until(lambda: count() <= before + 1, "descriptors to be closed")
