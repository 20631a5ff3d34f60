"""Real clients: curl, Python's own, requests with its connection pool, and many connections as browsers open them."""

import hashlib
import http.client
import json
import shutil
import subprocess
import threading
import urllib.request

import pytest

requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import WAYS, serving  # noqa: E402
from waiting import TIMEOUT  # noqa: E402

#: The servers, which clients must not be able to tell apart.
KINDS = {
    "script": ("script", {}),
    "one-by-one": ("script", {"threaded": False}),
    "forking": ("script", {"processes": 10}),
    "command": ("command", {}),
    "workers": ("command", {"workers": 2}),
}


@pytest.fixture(scope="module", params=[kind for kind, (way, _) in KINDS.items() if way in WAYS])
def server(request, tmp_path_factory):
    way, options = KINDS[request.param]
    with serving("plain:application", tmp_path_factory.mktemp("clients"), way, **options) as program:
        yield program


def curl(*arguments, input=None):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(TIMEOUT), *map(str, arguments)],
        input=input or b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def test_curl_uploads_after_100_continue(server, tmp_path):
    file = tmp_path / "upload"
    data = b"0123456789" * 500_000
    file.write_bytes(data)
    done = curl("--verbose", "-H", "Expect: 100-continue", "--data-binary", f"@{file}", f"{server.url}/upload")
    assert json.loads(done.stdout) == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert done.stderr.count(b"< HTTP/1.1 100 Continue") == 1


@pytest.mark.parametrize("path", ["refuse", "refuse-slowly"])
@pytest.mark.parametrize("size", [10, 10_000, 10_000_000])
def test_curl_gets_the_response_if_its_body_is_not_read(server, tmp_path, path, size):
    file = tmp_path / "upload"
    file.write_bytes(b"x" * size)
    done = curl("--verbose", "-H", "Expect: 100-continue", "--data-binary", f"@{file}", f"{server.url}/{path}")
    assert done.stdout == b"no\n"


def test_curl_uploads_chunked_from_a_pipe(server):
    done = curl("-T", "-", "-X", "POST", f"{server.url}/upload", input=b"0123456789" * 100_000)
    assert json.loads(done.stdout)["size"] == 1_000_000


@pytest.mark.parametrize("path", ["", "bytes?200000", "refuse-slowly"])
def test_curl_speaks_http_1_0(server, path):
    done = curl("--http1.0", "--verbose", f"{server.url}/{path}")
    assert b"Transfer-Encoding" not in done.stderr
    expected = {"bytes?200000": b"x" * 200_000, "refuse-slowly": b"no\n"}
    if path:
        assert done.stdout == expected[path]
    else:
        info = json.loads(done.stdout)
        assert info["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_curl_reuses_a_connection(server):
    urls = [f"{server.url}/bytes?{size}" for size in (10, 100_000, 0, 10)]
    # The number of connections of each transfer is written to standard error, the bodies to standard output.
    done = curl("--http1.1", "--write-out", "%{stderr}%{num_connects} ", *urls)
    assert len(done.stdout) == 100_020
    assert done.stderr.split() == [b"1", b"0", b"0", b"0"]


def test_curl_sends_requests_in_parallel(server):
    done = curl("--parallel", *[f"{server.url}/bytes?1000"] * 20)
    assert len(done.stdout) == 20_000


def test_curl_sends_head_requests(server):
    done = curl("--head", f"{server.url}/bytes?5000")
    assert b"Content-Length: 5000\r\n" in done.stdout


def test_curl_sees_a_500_if_the_application_fails(server):
    done = curl("--write-out", "%{http_code}", f"{server.url}/fail")
    assert done.stdout.endswith(b"500")
    assert b"on purpose" not in done.stdout
    log = server.wait_for_log("ValueError: on purpose\n")
    assert '    raise ValueError("on purpose")\n' in log


def test_http_client_reuses_a_connection(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT)
    for method, body in (("GET", None), ("POST", b"some"), ("PUT", b"x" * 100_000), ("DELETE", None)):
        connection.request(method, "/%C3%A9?a=b%20c", body)
        info = json.loads(connection.getresponse().read())
        assert info["REQUEST_METHOD"] == method
        assert info["PATH_INFO"].encode("latin-1").decode() == "/é"
        assert info["QUERY_STRING"] == "a=b%20c"
        assert info["body"] == (body or b"").decode()
    connection.close()


def test_http_client_sends_a_chunked_body(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT)
    connection.request("POST", "/upload", iter([b"a" * 100] * 1000), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["size"] == 100_000
    connection.close()


def test_urllib_closes_its_connection_after_each_request(server):
    with urllib.request.urlopen(f"{server.url}/", timeout=TIMEOUT) as response:
        assert json.load(response)["HTTP_CONNECTION"] == "close"
        assert response.headers["Connection"] == "close"


def test_requests_reuses_a_connection(server):
    with requests.Session() as session:
        ports = {session.get(f"{server.url}/", timeout=TIMEOUT).json()["REMOTE_PORT"] for _ in range(20)}
        assert len(ports) == 1
        session.post(f"{server.url}/refuse", data=b"x" * 200_000, timeout=TIMEOUT)
        ports |= {session.get(f"{server.url}/", timeout=TIMEOUT).json()["REMOTE_PORT"] for _ in range(20)}
        # The unread body is small enough to be discarded.
        assert len(ports) == 1


def test_many_browsers_get_their_pages(server):
    # Each browser opens six connections, one of which it never uses, and requests a page and its parts.
    failures = []

    def browse(number):
        try:
            silent = server.connect()
            with requests.Session() as session:
                session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=5))
                threads = [threading.Thread(target=fetch, args=(session, number, part)) for part in range(5)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            silent.close()
        except Exception as error:
            failures.append(error)

    def fetch(session, number, part):
        try:
            for again in range(2):
                info = session.get(f"{server.url}/{number}/{part}/{again}", timeout=TIMEOUT).json()
                assert info["PATH_INFO"] == f"/{number}/{part}/{again}"
                size = 1000 * part + number
                assert len(session.get(f"{server.url}/bytes?{size}", timeout=TIMEOUT).content) == size
        except Exception as error:
            failures.append(error)

    browsers = [threading.Thread(target=browse, args=(number,)) for number in range(15)]
    for browser in browsers:
        browser.start()
    for browser in browsers:
        browser.join()
    assert failures == []
