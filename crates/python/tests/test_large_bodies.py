"""Bodies of a gibibyte in both directions: the server's memory does not grow with them.

``AMBOSS_TEST_LARGE`` sets another size, in MiB.
"""

import http.client
import os
import threading
import time

import pytest

from programs import serving, ticks
from waiting import TIMEOUT, wait_until

SIZE = int(os.environ.get("AMBOSS_TEST_LARGE", 1024)) << 20
PIECE = 1 << 20
#: How much the process may grow in the meantime: buffers, and blocks in transit.
GROWTH = 40 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    file = folder / "sparse"
    with open(file, "wb") as sparse:
        sparse.truncate(SIZE)
    with serving("large:application", folder, env={"AMBOSS_TEST_FILE": str(file)}) as program:
        # The first request allocates what all requests need, before anything is measured.
        with program.connect() as connection:
            request(connection, "POST /up", 10)
            connection.sendall(b"x" * 10)
            assert read_response(connection).read() == b"10"
        yield program
    file.unlink()


@pytest.fixture(autouse=True)
def memory(server):
    server.reset_peak()
    before = server.memory("VmRSS")
    yield
    assert server.memory("VmHWM") - before < GROWTH


def request(connection, line, length=None):
    field = "" if line.startswith("GET") else "Transfer-Encoding: chunked\r\n"
    if length is not None:
        field = f"Content-Length: {length}\r\n"
    connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n".encode())


def read_response(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    return response


def receive(connection):
    """Reads a body to its end and returns its length."""
    response = read_response(connection)
    piece = bytearray(PIECE)
    total = 0
    while True:
        count = response.readinto(piece)
        if count == 0:
            return total
        total += count


def send(connection, piece, size=SIZE, chunked=False):
    if chunked:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    for _ in range(size // PIECE):
        connection.sendall(piece)
    if chunked:
        connection.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_read_in_blocks(server, chunked):
    with server.connect() as connection:
        request(connection, "POST /up", None if chunked else SIZE)
        send(connection, b"x" * PIECE, chunked=chunked)
        assert read_response(connection).read() == b"%d" % SIZE


def test_a_large_upload_is_read_in_lines(server):
    size = SIZE // 8
    with server.connect() as connection:
        request(connection, "POST /lines", size)
        send(connection, (b"x" * 1023 + b"\n") * 1024, size)
        assert read_response(connection).read() == b"%d" % size


@pytest.mark.parametrize("path", ["down", "down-by-write", "file"])
def test_a_large_response_is_sent(server, path):
    with server.connect() as connection:
        request(connection, f"GET /{path}?{SIZE}")
        assert receive(connection) == SIZE


def test_a_large_body_is_echoed(server):
    # The application reads while it sends its response.
    with server.connect() as connection:
        request(connection, "POST /echo", SIZE // 4)
        sender = threading.Thread(target=send, args=(connection, b"x" * PIECE, SIZE // 4))
        sender.start()
        assert receive(connection) == SIZE // 4
        sender.join(TIMEOUT)


def test_a_client_that_does_not_read_stops_the_generator(server):
    # The server takes blocks only while the client has room for them, so the generator does not run ahead.
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        request(connection, f"GET /down?{SIZE}")
        assert connection.recv(1)

    def rests():
        before = ticks(server.pid)
        time.sleep(0.3)
        return ticks(server.pid) - before <= 1

    wait_until(rests, "the server to fill the buffers")
    for connection in connections:
        connection.close()
