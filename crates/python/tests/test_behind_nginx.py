"""Behind nginx, over TCP with keep-alive connections and over a Unix socket."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import serving  # noqa: E402
from waiting import TIMEOUT, wait_until  # noqa: E402

CONFIGURATION = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream amboss {{ server {upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_buffering off;
        location / {{ proxy_pass http://amboss; }}
        location /passed-on/ {{ proxy_request_buffering off; proxy_pass http://amboss/; }}
        location /old/ {{ proxy_http_version 1.0; proxy_set_header Connection close; proxy_pass http://amboss/; }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """Runs nginx as a proxy for ``upstream``; yields its URL."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    # nginx inherits a listening socket, as in its binary upgrades, so no other program can take the port first.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder, upstream=upstream, port=port, user=user))
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")],
            # nginx outlives a test that hangs; it must not hold the test's pipes open.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
        )
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, (folder / "error.log").read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(url, timeout=TIMEOUT).ok
        return False

    try:
        wait_until(answers, "nginx")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)


@pytest.fixture(scope="module", params=["tcp", "unix"])
def proxied(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    host = "127.0.0.1" if request.param == "tcp" else f"unix://{folder}/amboss.sock"
    with serving("plain:application", folder, host=host) as program:
        upstream = f"127.0.0.1:{program.port}" if request.param == "tcp" else f"unix:{program.path}"
        with nginx(folder, upstream) as url:
            yield url, program


def test_forwarded_headers_reach_the_application(proxied):
    url, program = proxied
    info = requests.get(f"{url}/a%20b?c=d", headers={"X-Forwarded-For": "192.0.2.1"}, timeout=TIMEOUT).json()
    assert info["HTTP_X_FORWARDED_FOR"] == "192.0.2.1, 127.0.0.1"
    assert info["HTTP_X_FORWARDED_PROTO"] == "http"
    assert info["HTTP_X_FORWARDED_HOST"] == info["HTTP_HOST"] == url[len("http://") :]
    # nginx forwards the path without decoding it.
    assert (info["PATH_INFO"], info["QUERY_STRING"]) == ("/a b", "c=d")
    # The client that nginx names, not the one that its client claims.
    assert info["REMOTE_ADDR"] == "127.0.0.1"
    assert info["SERVER_NAME"] == (f"unix://{program.path}" if program.path else "127.0.0.1")


# Connections over a Unix socket have no ports, so they can't be told apart.
def test_nginx_reuses_its_connections_to_the_server(tmp_path):
    # Without trust in nginx, the port is that of its connection.
    with serving("plain:application", tmp_path, trusted_proxies="") as program:
        with nginx(tmp_path, f"127.0.0.1:{program.port}") as url:
            ports = {requests.get(url, timeout=TIMEOUT).json()["REMOTE_PORT"] for _ in range(20)}
    assert len(ports) == 1 and "0" not in ports


@pytest.mark.parametrize("prefix", ["", "passed-on/", "old/"])
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_arrive_complete(proxied, prefix, chunked):
    url, _ = proxied
    data = b"0123456789" * 1_000_000
    body = iter([data[:5_000_000], data[5_000_000:]]) if chunked else data
    response = requests.post(f"{url}/{prefix}upload", data=body, timeout=TIMEOUT)
    assert response.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("prefix", ["", "old/"])
def test_each_block_is_forwarded_when_it_is_yielded(proxied, prefix):
    url, _ = proxied
    with requests.get(f"{url}/{prefix}blocks", stream=True, timeout=TIMEOUT) as response:
        lines = response.iter_lines(chunk_size=None)
        for number in range(5):
            assert next(lines) == b"block %d" % number
            assert requests.post(f"{url}/next", timeout=TIMEOUT).ok
        assert list(lines) == []


def test_downloads_arrive_complete(proxied):
    url, _ = proxied
    for size in (0, 1, 10_000, 10_000_000):
        assert requests.get(f"{url}/bytes?{size}", timeout=TIMEOUT).content == b"x" * size


def test_a_rejected_upload_gets_its_response(proxied):
    url, _ = proxied
    for prefix in ("", "passed-on/"):
        response = requests.post(f"{url}/{prefix}refuse", data=b"x" * 5_000_000, timeout=TIMEOUT)
        assert (response.status_code, response.text) == (403, "no\n")


def test_a_failing_application_is_a_500_not_a_502(proxied):
    url, program = proxied
    assert requests.get(f"{url}/fail", timeout=TIMEOUT).status_code == 500
    program.wait_for_log("ValueError: on purpose")


def test_head_and_204_responses_do_not_break_keep_alive_connections(proxied):
    url, _ = proxied
    with requests.Session() as session:
        for _ in range(10):
            assert session.head(f"{url}/bytes?1000", timeout=TIMEOUT).headers["Content-Length"] == "1000"
            assert session.get(f"{url}/bytes?10", timeout=TIMEOUT).content == b"x" * 10


def test_many_concurrent_clients_get_their_own_responses(proxied):
    url, _ = proxied
    failures = []

    def ask(number):
        try:
            with requests.Session() as session:
                for again in range(20):
                    info = session.get(f"{url}/{number}/{again}", timeout=TIMEOUT).json()
                    assert info["PATH_INFO"] == f"/{number}/{again}"
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
