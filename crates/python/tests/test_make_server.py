"""``make_server`` and the servers that it makes."""

import contextlib
import inspect
import os
import socket
import ssl
import threading
import time

import amboss
import pytest
from amboss import serving

from client import Client
from conftest import RunningServer
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"Hello"]


def test_werkzeugs_names_exist():
    werkzeug = pytest.importorskip("werkzeug.serving")
    for name in (
        "BaseWSGIServer ThreadedWSGIServer ForkingWSGIServer WSGIRequestHandler run_simple make_server make_ssl_devcert "
        "is_running_from_reloader"
    ).split():
        assert hasattr(werkzeug, name) and hasattr(amboss, name) and hasattr(serving, name), name
    for name in ("run_simple", "make_server"):
        theirs = list(inspect.signature(getattr(werkzeug, name)).parameters)
        ours = list(inspect.signature(getattr(amboss, name)).parameters)
        # Werkzeug's make_server has no default for its app argument either.
        assert ours[: len(theirs)] == theirs, name


@pytest.mark.parametrize(
    "options, kind",
    [
        ({}, serving.ThreadedWSGIServer),
        ({"threaded": True}, serving.ThreadedWSGIServer),
        ({"threaded": False}, serving.BaseWSGIServer),
        ({"processes": 2}, serving.ForkingWSGIServer),
    ],
)
def test_options_choose_the_class_of_the_server(options, kind):
    with amboss.make_server("127.0.0.1", 0, app, **options) as server:
        assert type(server) is kind
        assert server.multithread is (kind is serving.ThreadedWSGIServer)
        assert server.multiprocess is (kind is serving.ForkingWSGIServer)
        assert server.host == "127.0.0.1" and server.port > 0
        assert (server.server_address, server.server_port) == ((server.host, server.port), server.port)
        assert server.app is app and server.ssl_context is None and server.passthrough_errors is False


def test_a_server_listens_until_it_is_closed(log):
    server = amboss.make_server("127.0.0.1", 0, app)
    early = Client(("127.0.0.1", server.port)).request()
    served = RunningServer(server)
    assert early.read_response().body == b"Hello"
    early.close()
    served.stop()
    with pytest.raises(OSError):
        Client(("127.0.0.1", server.port))
    with pytest.raises(RuntimeError, match="serves already, or was closed"):
        server.serve_forever()


def test_server_close_releases_the_port():
    server = amboss.make_server("127.0.0.1", 0, app)
    server.server_close()
    server.server_close()
    again = amboss.make_server("127.0.0.1", server.port, app)
    again.server_close()


def test_shutdown_before_serving_makes_serve_forever_return(log):
    server = amboss.make_server("127.0.0.1", 0, app)
    server.shutdown()
    server.shutdown()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_shutdown_waits_for_running_requests(serve, gate):
    entered = threading.Event()

    def slow(environ, start_response):
        entered.set()
        assert gate.wait()
        return app(environ, start_response)

    served = serve(slow)
    client = served.client().request()
    assert entered.wait(TIMEOUT)
    served.server.shutdown()

    def is_stopping():
        try:
            Client(("127.0.0.1", served.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_stopping)
    assert served.thread.is_alive()
    gate.open()
    assert client.read_response().body == b"Hello"
    served.thread.join(TIMEOUT)
    assert not served.thread.is_alive()


def test_shutdown_closes_idle_connections_at_once(serve):
    served = serve(app)
    client = served.client()
    assert client.get().body == b"Hello"
    begun = time.monotonic()
    served.server.shutdown()
    served.thread.join(TIMEOUT)
    # The server ends earlier than the ten seconds that running requests would get.
    assert time.monotonic() - begun < 8
    assert client.is_closed()


def test_handle_request_serves_one_request(log):
    with amboss.make_server("127.0.0.1", 0, app) as server:
        for _ in range(2):
            client = Client(("127.0.0.1", server.port)).request(headers="Connection: close\r\n")
            assert server.handle_request(TIMEOUT) is True
            assert client.read_response().body == b"Hello"
            assert client.is_closed()
            client.close()


def test_handle_request_has_a_timeout():
    with amboss.make_server("127.0.0.1", 0, app) as server:
        begun = time.monotonic()
        assert server.handle_request(0.05) is False
        assert server.handle_request(0) is False
        assert 0.04 < time.monotonic() - begun < 5


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
def test_handle_request_rejects_an_invalid_timeout(timeout):
    with amboss.make_server("127.0.0.1", 0, app) as server:
        with pytest.raises((ValueError, TypeError)):
            server.handle_request(timeout)
        # The server is still usable.
        assert server.handle_request(0) is False


def test_a_server_does_not_serve_twice_concurrently(serve):
    served = serve(app)
    assert served.get().status == 200
    with pytest.raises(RuntimeError, match="serves already"):
        served.server.serve_forever()


def test_several_servers_run_in_one_process(serve):
    def named(name):
        def app(environ, start_response):
            start_response("200 OK", PLAIN)
            return [name]

        return app

    servers = [serve(named(b"%d" % number)) for number in range(4)]
    for number, served in enumerate(servers):
        assert served.get().body == b"%d" % number
    servers[0].stop()
    assert servers[1].get().body == b"1"


def test_localhost_means_ipv4_and_ipv6(log):
    served = RunningServer(amboss.make_server("localhost", 0, app))
    try:
        hosts = ["127.0.0.1"]
        if any(info[0] == socket.AF_INET6 for info in socket.getaddrinfo("localhost", 0)):
            with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
                hosts.append("::1")
        for host in hosts:
            with Client((host, served.port)) as client:
                assert client.get().body == b"Hello"
    finally:
        served.stop()


def test_fd_is_a_listening_socket(log):
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    served = RunningServer(amboss.make_server("ignored", 1, app, fd=listening.fileno()))
    try:
        assert served.port == port
        assert served.get().body == b"Hello"
    finally:
        served.stop()
    # The socket still belongs to its owner.
    assert listening.getsockname()[1] == port
    listening.close()


def test_fd_must_be_a_listening_socket(tmp_path):
    with socket.socket() as idle, open(tmp_path / "file", "w") as file:
        for number, kind in ((idle.fileno(), OSError), (file.fileno(), OSError), (-1, ValueError), (10**6, OSError)):
            with pytest.raises(kind, match=str(number)):
                amboss.make_server("127.0.0.1", 0, app, fd=number)
        # The descriptors were not closed.
        assert idle.fileno() >= 0 and os.fstat(idle.fileno()) and os.fstat(file.fileno())


def test_a_stale_unix_socket_is_replaced(tmp_path, log):
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    server = amboss.make_server("unix://" + path, 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Client(path) as client:
        assert client.get().body == b"Hello"
    server.shutdown()
    thread.join(TIMEOUT)
    assert not os.path.exists(path)


WRONG = {
    "threads and processes": (
        {"threaded": True, "processes": 2},
        ValueError,
        "Cannot have a multi-thread and multi-process",
    ),
    "threads with threaded=False": ({"threads": 3, "threaded": False}, ValueError, "threads requires"),
    "threads and processes by number": ({"threads": 3, "processes": 2}, ValueError, "threads requires"),
    "no threads": ({"threads": 0}, ValueError, ""),
    "an unknown certificate": ({"ssl_context": ("/no/such.crt", "/no/such.key")}, OSError, "/no/such.crt"),
    "an unknown word": ({"ssl_context": "ad hoc"}, ValueError, "'adhoc' or (certfile, keyfile)"),
    "a client's SSLContext": (
        {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        ValueError,
        "PROTOCOL_TLS_SERVER",
    ),
    "a tuple of three": ({"ssl_context": ("a", "b", "c")}, TypeError, "not a tuple of 3"),
    "a tuple of three in a list": ({"ssl_context": [("a", "b", "c")]}, TypeError, "not a tuple of 3"),
    "no certificates": ({"ssl_context": []}, ValueError, "at least one (certfile, keyfile)"),
    "a list of proxies": ({"trusted_proxies": ["127.0.0.1"]}, TypeError, "trusted_proxies must be str"),
    "threads in words": ({"threads": "3"}, TypeError, "threads must be int, as 16, not '3'"),
    "a truth as a number": ({"threads": True}, TypeError, "threads must be int"),
    "None processes": ({"processes": None}, TypeError, "processes must be int"),
    "no processes": ({"processes": 0}, ValueError, "processes must be 1 or more"),
    "one allowed host": ({"allowed_hosts": "a.test"}, TypeError, "must be a list of names, as ['a.test']"),
    "a URL as an allowed host": ({"allowed_hosts": ["http://a"]}, ValueError, "without a scheme and a port"),
    "PROXY headers without a trusted proxy": (
        {"proxy_protocol": "required", "trusted_proxies": ""},
        ValueError,
        "none is trusted",
    ),
    "a list of names": ({"ssl_context": ["a.crt", "a.key"]}, TypeError, "'adhoc' or (certfile, keyfile)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_raise_exceptions(case):
    options, kind, part = WRONG[case]
    with pytest.raises(kind) as raised:
        amboss.make_server("127.0.0.1", 0, app, **options)
    assert part in str(raised.value)


@pytest.mark.parametrize("port", ["5000", 5000.0, None, True])
def test_the_port_must_be_an_integer(port):
    for function in (amboss.make_server, amboss.run_simple):
        with pytest.raises(TypeError, match="^port must be an integer$"):
            function("127.0.0.1", port, app)


@pytest.mark.parametrize("port", [-1, 65536])
def test_the_port_must_be_in_range(port):
    with pytest.raises(ValueError, match="from 0 to 65535"):
        amboss.make_server("127.0.0.1", port, app)


def test_the_application_must_be_callable():
    with pytest.raises(TypeError, match="can't be called"):
        amboss.make_server("127.0.0.1", 0, [app])


def test_a_port_in_use_is_an_os_error():
    with amboss.make_server("127.0.0.1", 0, app) as server:
        with pytest.raises(OSError, match=f"Port {server.port} is in use by another program"):
            amboss.make_server("127.0.0.1", server.port, app)


def test_certificates_of_make_ssl_devcert_can_be_served(tmp_path, log):
    paths = amboss.make_ssl_devcert(str(tmp_path / "dev"), host="localhost")
    assert paths == (str(tmp_path / "dev.crt"), str(tmp_path / "dev.key"))
    served = RunningServer(amboss.make_server("127.0.0.1", 0, app, ssl_context=paths))
    try:
        tls = ssl.create_default_context(cafile=paths[0])
        with served.client(tls=tls) as client:
            assert client.get().body == b"Hello"
    finally:
        served.stop()


def test_a_client_gets_the_certificate_with_the_name_that_it_asks_for(tmp_path, log):
    pairs = [amboss.make_ssl_devcert(str(tmp_path / name), host=name) for name in ("a.test", "b.test")]
    served = RunningServer(amboss.make_server("127.0.0.1", 0, app, ssl_context=pairs))
    try:
        for name, (certificate, _) in [("a.test", pairs[0]), ("b.test", pairs[1]), ("localhost", pairs[0])]:
            tls = ssl.create_default_context(cafile=certificate)
            with socket.create_connection(("127.0.0.1", served.port), TIMEOUT) as raw:
                with tls.wrap_socket(raw, server_hostname=name) as client:
                    assert ("DNS", name) in client.getpeercert()["subjectAltName"]
    finally:
        served.stop()


def test_is_running_from_reloader_reads_the_environment(monkeypatch):
    monkeypatch.delenv("AMBOSS_RUN_MAIN", raising=False)
    assert amboss.is_running_from_reloader() is False
    monkeypatch.setenv("AMBOSS_RUN_MAIN", "true")
    assert amboss.is_running_from_reloader() is True


def test_quiet_disables_the_access_log(serve, log):
    def failing(environ, start_response):
        raise ValueError("still logged")

    served = serve(failing, quiet=True)
    assert served.get().status == 500
    log.wait_for("still logged")
    # After the server has stopped, nothing more is logged.
    served.stop()
    assert '" 500' not in log.text


def test_a_server_that_is_garbage_collected_releases_its_port():
    import gc

    server = amboss.make_server("127.0.0.1", 0, app)
    port = server.port
    del server
    gc.collect()

    def is_free():
        try:
            amboss.make_server("127.0.0.1", port, app).server_close()
        except OSError:
            return False
        return True

    wait_until(is_free)
