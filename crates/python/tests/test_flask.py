"""Flask: sessions, uploads, streams, errors, files, and what runs when an answer is out."""

import hashlib
import http.client
import os
import re
import socket

import pytest

pytest.importorskip("flask", reason="Flask is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import PATIENCE, WAYS, serving, wait_for  # noqa: E402

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


def test_says_hello_and_decodes_the_query(flask, client):
    answer = client.get(f"{flask.url}/", params={"name": "Zoë"}, timeout=PATIENCE)
    assert answer.text == "Hello Zoë!\n"
    assert answer.headers["Content-Length"] == str(len("Hello Zoë!\n".encode()))


def test_a_session_lives_in_a_cookie(flask, client):
    for number in range(1, 4):
        assert client.get(f"{flask.url}/visits", timeout=PATIENCE).json() == {"visits": number}
    assert "session" in client.cookies
    # The redirect's Location has the host and port that the client used.
    assert client.get(f"{flask.url}/forget", timeout=PATIENCE).json() == {"visits": 1}
    assert requests.get(f"{flask.url}/visits", timeout=PATIENCE).json() == {"visits": 1}


def test_a_form_with_a_file_of_50_mb(flask, client):
    data = b"0123456789abcdef" * (50_000_000 // 16)
    answer = client.post(
        f"{flask.url}/upload",
        files={"file": ("grüße.bin", data, "application/octet-stream")},
        data={"title": "größer"},
        timeout=PATIENCE,
    )
    assert answer.json() == {
        "name": "grüße.bin",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "title": "größer",
    }


def test_an_upload_that_is_too_large_gets_its_413(flask):
    with flask.connect() as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        connection.sendall(b"x" * (70_000_000 - len("--x\r\n")))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_upload_is_as_good_as_any(flask, client):
    data = [b"a" * 1000, b"b" * 70_000, b"c"]
    assert client.post(f"{flask.url}/echo", data=iter(data), timeout=PATIENCE).content == b"".join(data)


def test_each_block_is_seen_as_it_is_yielded(flask, client):
    with requests.get(f"{flask.url}/blocks", stream=True, timeout=PATIENCE) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        lines = answer.iter_lines(chunk_size=None)
        for number in range(5):
            assert next(lines) == b"block %d" % number
            assert client.post(f"{flask.url}/next", timeout=PATIENCE).status_code == 204
        assert list(lines) == []


def test_a_stream_keeps_its_request_context(flask, client):
    client.get(f"{flask.url}/visits", timeout=PATIENCE)
    answer = client.get(f"{flask.url}/context", params={"name": "world"}, timeout=PATIENCE)
    assert answer.text == "Hello world of 1 visits!"


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_stream_can_read_its_input_while_it_answers(flask, client, size, chunked):
    data = b"abcdefgh" * (size // 8)
    answer = client.post(f"{flask.url}/shout", data=iter([data]) if chunked else data, timeout=PATIENCE)
    assert answer.content == data.upper()


@pytest.mark.parametrize("code", [400, 401, 403, 405, 409, 410, 413, 418, 429, 500, 503])
def test_abort_gives_its_code(flask, client, code):
    answer = client.get(f"{flask.url}/abort/{code}", timeout=PATIENCE)
    assert answer.status_code == code
    assert re.search(rf"<title>{code} ", answer.text)


def test_error_handlers_give_their_answers(flask, client):
    answer = client.get(f"{flask.url}/nowhere%2Fat/äll", timeout=PATIENCE)
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found", "path": "/nowhere/at/äll"}
    answer = client.get(f"{flask.url}/tea", timeout=PATIENCE)
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (503, "no tea\n", "60")


def test_an_unhandled_error_is_a_500_and_its_traceback_is_in_the_log_as_python_writes_it(flask, client):
    answer = client.get(f"{flask.url}/fail", timeout=PATIENCE)
    assert answer.status_code == 500
    assert "Internal Server Error" in answer.text
    log = flask.wait_for_log(r'RuntimeError: nobody handles this: "é"\n')
    assert '    raise RuntimeError(\'nobody handles this: "é"\')\n' in log
    assert log.count("RuntimeError: nobody handles this") == 1
    assert client.get(f"{flask.url}/", timeout=PATIENCE).status_code == 200


def test_an_error_that_flask_passes_on_is_logged_once_and_whole(flask, client):
    answer = client.get(f"{flask.url}/loud/fail", timeout=PATIENCE)
    assert answer.status_code == 500
    log = flask.wait_for_log(r"RuntimeError: what Flask passes on\n")
    assert log.count("RuntimeError: what Flask passes on") == 1
    assert 'error on "GET /loud/fail HTTP/1.1": Traceback (most recent call last):\n' in log
    assert "KeyError: 'key'\n" in log
    assert "The above exception was the direct cause of the following exception:" in log


def test_an_error_in_the_middle_of_a_stream_is_seen_by_the_client(flask, client):
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.get(f"{flask.url}/fail-midway", timeout=PATIENCE)
    log = flask.wait_for_log(r"RuntimeError: in the middle\n")
    assert log.count("RuntimeError: in the middle") == 1


def test_send_file_whole_and_with_head(flask, client):
    answer = client.get(f"{flask.url}/file", timeout=PATIENCE)
    assert answer.content == BYTES
    answer = client.head(f"{flask.url}/file", timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(BYTES)))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("90000-", 90_000, len(BYTES)), ("-5", len(BYTES) - 5, len(BYTES))],
)
def test_send_file_gives_ranges(flask, client, asked, start, end):
    answer = client.get(f"{flask.url}/file", headers={"Range": f"bytes={asked}"}, timeout=PATIENCE)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(BYTES)}"
    assert answer.content == BYTES[start:end]


def test_send_file_refuses_a_range_that_is_none(flask, client):
    answer = client.get(f"{flask.url}/file", headers={"Range": "bytes=9999999-"}, timeout=PATIENCE)
    assert answer.status_code == 416


def test_send_file_is_not_sent_again_to_who_has_it(flask, client):
    first = client.get(f"{flask.url}/file", timeout=PATIENCE)
    for condition in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        answer = client.get(f"{flask.url}/file", headers=condition, timeout=PATIENCE)
        assert (answer.status_code, answer.content) == (304, b"")
    condition = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert client.get(f"{flask.url}/file", headers=condition, timeout=PATIENCE).content == BYTES


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["whole", "stream", "empty"])
def test_call_on_close_delays_nobody(flask, client, kind, method):
    # The function that is called then waits for a request that is sent when the answer is here, to its last byte.
    answer = requests.request(method, f"{flask.url}/closing/{kind}", timeout=PATIENCE / 2)
    assert answer.status_code == (204 if kind == "empty" else 200)
    expected = {"whole": "whole\n", "stream": "0\n1\n2\n", "empty": ""}[kind]
    assert answer.text == (expected if method == "GET" else "")
    assert client.get(f"{flask.url}/closed", timeout=PATIENCE).json() == {"closed": False}
    assert client.post(f"{flask.url}/close", timeout=PATIENCE).json() == {"closed": True}


def test_basic_authentication(flask, client):
    assert client.get(f"{flask.url}/secret", timeout=PATIENCE).status_code == 401
    assert client.get(f"{flask.url}/secret", auth=("zoë", "sesame"), timeout=PATIENCE).status_code in (200, 401)
    assert client.get(f"{flask.url}/secret", auth=("ann", "sesame"), timeout=PATIENCE).text == "welcome ann\n"


def test_a_client_that_leaves_a_stream_ends_it(flask, client):
    before = len(flask.log())
    with flask.connect() as connection:
        connection.sendall(b"GET /blocks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    # It waits for the client's word, once or twice, and then notices that nobody is there.
    for _ in range(5):
        client.post(f"{flask.url}/next", timeout=PATIENCE)
    wait_for("its line in the log", lambda: '"GET /blocks HTTP/1.1" 200 ' in flask.log()[before:])
    assert "Traceback" not in flask.log()[before:]


def test_access_lines_tell_status_size_and_path(flask, client):
    client.get(f"{flask.url}/?marker=lines%20here", timeout=PATIENCE)
    flask.wait_for_log(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] '
        r'"GET /\?marker=lines here HTTP/1\.1" 200 13 \d+\.\d{3}s\n'
    )


def test_many_requests_on_one_connection(flask):
    connection = http.client.HTTPConnection(flask.host, flask.port, timeout=PATIENCE)
    connection.connect()
    here = connection.sock.getsockname()
    for number in range(100):
        connection.request("GET", f"/?name={number}")
        assert connection.getresponse().read() == f"Hello {number}!\n".encode()
        assert connection.sock is not None and connection.sock.getsockname() == here
    connection.close()


def test_nothing_is_left_open(flask, client):
    # Requests that have been answered leave no descriptor behind.
    def count():
        return len(os.listdir(f"/proc/{flask.pid}/fd"))

    client.get(f"{flask.url}/", timeout=PATIENCE)
    before = count()
    for _ in range(20):
        requests.get(f"{flask.url}/file", timeout=PATIENCE)
    wait_for("descriptors to be closed", lambda: count() <= before + 1)
