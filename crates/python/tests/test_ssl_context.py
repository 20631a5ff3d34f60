"""``ssl_context=ssl.SSLContext(...)``: whatever the context was told holds."""

import shutil
import socket
import ssl
import statistics
import subprocess
import threading
import time

import pytest

from client import Client
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Certificates for two names, and one for clients; each is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("localhost", "other.test", "client"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{folder}/{name}.key"]
        subprocess.run([*command, "-out", f"{folder}/{name}.crt"], check=True, capture_output=True)
    return folder


def context_of(certificates, name="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
    return context


def client_of(certificates, *names):
    context = ssl.create_default_context()
    for name in names or ("localhost",):
        context.load_verify_locations(certificates / f"{name}.crt")
    return context


def app(environ, start_response):
    start_response("200 OK", PLAIN)
    if environ["PATH_INFO"] == "/spin":
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass
        return [b"spun"]
    if environ["PATH_INFO"] == "/large":
        return [b"x" * 10_000_000]
    if environ["PATH_INFO"] == "/blocks":
        return (b"%d\n" % number for number in range(1000))
    body = environ["wsgi.input"].read(-1)
    names = ("wsgi.url_scheme", "SSL_PROTOCOL", "SSL_CIPHER")
    text = " ".join(environ[name] for name in names) + f" {len(body)} {environ.get('SSL_CLIENT_CERT', '')[:27]}"
    return [text.encode()]


@pytest.mark.parametrize("body_mode", ["collect", "stream"])
def test_requests_and_responses_of_every_size(serve, certificates, body_mode):
    served = serve(app, ssl_context=context_of(certificates), body_mode=body_mode)
    with served.client(tls=client_of(certificates)) as client:
        for size in (0, 1, 16_384, 3_000_000):
            scheme, protocol, cipher, length = client.get("/", "POST", body=b"x" * size).body.decode().split()[:4]
            assert (scheme, protocol, int(length)) == ("https", "TLSv1.3", size)
            assert cipher == client.socket.cipher()[0]
        assert len(client.get("/large").body) == 10_000_000
        assert client.get("/blocks").body.split() == [b"%d" % number for number in range(1000)]
        # Pipelined.
        client.request("/").request("/large").request("/")
        assert [len(client.read_response().body) > 1_000_000 for _ in range(3)] == [False, True, False]


def test_tls_1_2_only(serve, certificates):
    context = context_of(certificates)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    served = serve(app, ssl_context=context)
    with served.client(tls=client_of(certificates)) as client:
        assert b"https TLSv1.2 " in client.get().body
    refused = client_of(certificates)
    refused.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        served.client(tls=refused)
    # The connection that has failed is the only one.
    with served.client(tls=client_of(certificates)) as client:
        assert client.get().status == 200


def test_client_certificates(serve, certificates, log):
    context = context_of(certificates)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates / "client.crt")
    served = serve(app, ssl_context=context)
    own = client_of(certificates)
    own.load_cert_chain(certificates / "client.crt", certificates / "client.key")
    with served.client(tls=own) as client:
        assert b"-----BEGIN CERTIFICATE-----" in client.get().body
    with pytest.raises((OSError, EOFError)), served.client(tls=client_of(certificates)) as client:
        client.get()
    log.wait_for("TLS handshake with 127.0.0.1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_name_chooses_the_certificate_by_the_context_s_callback(serve, certificates):
    context, other = context_of(certificates), context_of(certificates, "other.test")
    asked = []

    def choose(connection, name, _):
        asked.append(name)
        if name == "other.test":
            connection.context = other
        if name == "raises.test":
            raise ValueError("in the callback")

    context.sni_callback = choose
    served = serve(app, ssl_context=context)
    for name in ("localhost", "other.test"):
        with socket.create_connection(("127.0.0.1", served.port), TIMEOUT) as plain:
            with client_of(certificates, name).wrap_socket(plain, server_hostname=name) as tls:
                assert tls.getpeercert()["subject"][0][0][1] == name
    # An exception in a callback ends its connection only.
    with socket.create_connection(("127.0.0.1", served.port), TIMEOUT) as plain, pytest.raises(OSError):
        client_of(certificates).wrap_socket(plain, server_hostname="raises.test")
    with served.client(tls=client_of(certificates)) as client:
        assert client.get().status == 200
    assert asked == ["localhost", "other.test", "raises.test", "localhost"]


def test_sessions_are_resumed_and_protocols_negotiated(serve, certificates):
    context = context_of(certificates)
    context.set_alpn_protocols(["http/1.1"])
    served = serve(app, ssl_context=context)
    own = client_of(certificates)
    own.set_alpn_protocols(["h2", "http/1.1"])
    session = None
    for is_second in (False, True):
        with socket.create_connection(("127.0.0.1", served.port), TIMEOUT) as plain:
            with own.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                assert tls.selected_alpn_protocol() == "http/1.1"
                tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert tls.recv(1000).startswith(b"HTTP/1.1 200")
                assert tls.session_reused == is_second
                session = tls.session


def test_silent_clients_take_no_thread(serve, certificates):
    served = serve(app, ssl_context=context_of(certificates), threads=2)
    silent = [served.client() for _ in range(50)]
    begun = [served.client().send(b"\x16\x03\x01") for _ in range(50)]
    before = threading.active_count()
    with served.client(tls=client_of(certificates)) as client:
        assert client.get().status == 200
    assert threading.active_count() <= before + 2
    for one in (*silent, *begun):
        one.close()


def test_the_end_is_announced(serve, certificates):
    served = serve(app, ssl_context=context_of(certificates))
    with served.client(tls=client_of(certificates)) as client:
        assert client.get(headers="Connection: close\r\n").status == 200
        # Without close_notify, this raises.
        client.socket.suppress_ragged_eofs = False
        assert client.socket.recv(1) == b""


def test_plain_http_is_redirected(serve, certificates):
    served = serve(app, ssl_context=context_of(certificates))
    response = served.get("/a?b")
    assert (response.status, response.header("Location")) == (308, "https://localhost/a?b")


def test_plain_connections_do_not_wait_for_the_interpreter(serve, certificates):
    """The loop never takes the interpreter's lock for TLS: connections that need no Python keep their times."""
    served = serve(app, ssl_context=context_of(certificates))

    def times():
        taken = []
        for _ in range(100):
            began = time.monotonic()
            assert served.get("/").status == 308
            taken.append(time.monotonic() - began)
        return statistics.quantiles(taken, n=100)[98]

    idle = times()
    computing = [Client(("127.0.0.1", served.port), client_of(certificates)) for _ in range(3)]
    for one in computing:
        one.request("/spin")
    shaking = threading.Thread(target=lambda: [served.client(tls=client_of(certificates)).close() for _ in range(5)])
    shaking.start()
    # This process computes as well, so its own client waits for the lock; the bound is far below the second that is spun.
    assert times() < idle + 0.5
    assert [one.read_response().body for one in computing] == [b"spun"] * 3
    shaking.join(TIMEOUT)
    for one in computing:
        one.close()


def test_a_client_that_vanishes_leaves_nothing(serve, certificates):
    served = serve(app, ssl_context=context_of(certificates))
    for _ in range(20):
        client = served.client(tls=client_of(certificates))
        client.request("/large")
        client.socket.recv(1000)
        client.close()
    with served.client(tls=client_of(certificates)) as client:
        assert client.get().status == 200
    wait_until(lambda: served.get("/").status == 308)


def test_processes_are_refused(certificates):
    import amboss

    with pytest.raises(ValueError, match="use threads"):
        amboss.make_server("127.0.0.1", 0, app, processes=2, ssl_context=context_of(certificates))


def test_in_greenlets(script, certificates):
    pytest.importorskip("gevent")
    program = script(
        f"""
        from gevent import monkey

        monkey.patch_all()
        import ssl
        import time
        import amboss

        def app(environ, start_response):
            time.sleep(0.05)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [environ["SSL_PROTOCOL"].encode() + b"%d" % len(environ["wsgi.input"].read())]

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain({str(certificates / "localhost.crt")!r}, {str(certificates / "localhost.key")!r})
        amboss.run_simple("127.0.0.1", 0, app, ssl_context=context)
        """
    )
    clients = [Client(("127.0.0.1", program.port), client_of(certificates)) for _ in range(20)]
    for one in clients:
        one.request("/", "POST", body=b"x" * 100_000)
    assert {one.read_response().body for one in clients} == {b"TLSv1.3100000"}
    for one in clients:
        one.close()
