"""Behind proxies: forwarded fields and the PROXY protocol, as an application sees them."""

import amboss
import pytest

PLAIN = [("Content-Type", "text/plain")]
FORWARDED = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example:444\r\n"


@pytest.fixture
def environs_of(serve):
    """Returns a function that sends requests on one connection, and returns the environ of each."""

    def environs_of(*requests, **options):
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            start_response("200 OK", PLAIN)
            return [b""]

        client = serve(app, **options).client()
        for request in requests:
            assert client.send(request).read_response().status == 200
        for environ in seen:
            environ["the server's port"] = str(client.socket.getpeername()[1])
        return seen

    return environs_of


def request(fields=b""):
    return b"GET / HTTP/1.1\r\nHost: app\r\n" + fields + b"\r\n"


def test_a_proxy_on_this_machine_is_trusted_for_the_client_and_the_scheme(environs_of):
    first, second, third = environs_of(request(FORWARDED), request(), request(b"X-Forwarded-For: 7.7.7.7\r\n"))
    assert (first["REMOTE_ADDR"], first["REMOTE_PORT"], first["wsgi.url_scheme"]) == ("6.6.6.6", "0", "https")
    assert (first["HTTP_HOST"], first["SERVER_NAME"], first["SCRIPT_NAME"]) == ("app", "127.0.0.1", "")
    # As Werkzeug's ProxyFix keeps them.
    assert first["werkzeug.proxy_fix.orig"] == {
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "app",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": first["the server's port"],
        "SCRIPT_NAME": "",
    }
    # The values of one request do not stay with the connection.
    assert (second["REMOTE_ADDR"], second["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert "werkzeug.proxy_fix.orig" not in second
    assert (third["REMOTE_ADDR"], third["wsgi.url_scheme"]) == ("7.7.7.7", "http")


def test_host_and_prefix_are_believed_on_request(environs_of):
    fields = FORWARDED + b"X-Forwarded-Prefix: /app/\r\n"
    (environ,) = environs_of(request(fields), forwarded_hops={"host": 1, "prefix": 1})
    assert environ["HTTP_HOST"] == "public.example:444"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("public.example", "444")
    assert environ["SCRIPT_NAME"] == "/app"
    assert environ["werkzeug.proxy_fix.orig"]["HTTP_HOST"] == "app"


def test_a_peer_that_is_not_trusted_changes_nothing(environs_of):
    (environ,) = environs_of(request(FORWARDED), trusted_proxies="10.0.0.0/8,unix:")
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert "werkzeug.proxy_fix.orig" not in environ


def test_forwarded_is_read_on_request(environs_of):
    fields = FORWARDED + b'Forwarded: for="[2001:db8::1]:80"\r\n'
    (environ,) = environs_of(request(fields), forwarded_rfc7239=True)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::1", "80")
    assert environ["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize("protocol", ["required", "optional"])
def test_the_proxy_protocol_sets_the_client(environs_of, protocol, log):
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
    environs = environs_of(header + request(FORWARDED), request(), proxy_protocol=protocol)
    for environ in environs:
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("192.0.2.7", "56324")
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"] == "127.0.0.1"
    log.wait_for("192.0.2.7 - - [")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trusted_proxies": "localhost"}, "write an IP address"),
        ({"trusted_proxies": "10.1.2.3/8"}, "write 10.0.0.0/8"),
        ({"forwarded_hops": {"scheme": 1}}, "the names are for, proto, host, port, prefix"),
        ({"forwarded_hops": {"for": -1}}, "the number has to be 0 or more"),
        ({"proxy_protocol": "v2"}, "proxy_protocol must be"),
    ],
)
def test_mistakes_are_refused_with_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        amboss.make_server("127.0.0.1", 0, lambda environ, start_response: [], **options)
