"""``environ``: a plain dict of native strings that contains the request and nothing else."""

import os
import ssl

import amboss
import pytest

from waiting import TIMEOUT

PLAIN = [("Content-Type", "text/plain")]


@pytest.fixture
def environ_of(serve):
    """Returns a function that sends a request, given as bytes, and returns its environ."""

    def environ_of(request, status=200, tls=None, **options):
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            start_response("200 OK", PLAIN)
            return [b""]

        client = serve(app, **options).client(tls=tls)
        assert client.send(request).read_response().status == status
        environ = seen[0] if seen else {}
        environ["the server's port"] = str(client.socket.getpeername()[1])
        environ["the client's port"] = str(client.socket.getsockname()[1])
        return environ

    return environ_of


def request(target="/", headers="", method="GET", version="1.1", host="localhost"):
    return f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n{headers}\r\n".encode("latin-1")


def test_environ_is_a_plain_dict_of_native_strings(environ_of):
    environ = environ_of(request("/a?b=c", "X-A: b\r\nCookie: c=d\r\n"))
    assert type(environ) is dict
    for name, value in environ.items():
        assert type(name) is str
        if "." not in name:
            assert type(value) is str, name


def test_a_request_sets_its_variables(environ_of):
    environ = environ_of(request("/a/b%20c?d=e%20f", "Accept: */*\r\n"))
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b c",
        "QUERY_STRING": "d=e%20f",
        "REQUEST_URI": "/a/b%20c?d=e%20f",
        "RAW_URI": "/a/b%20c?d=e%20f",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": environ["the server's port"],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"amboss/{amboss.__version__}",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": environ["the client's port"],
        "HTTP_HOST": "localhost",
        "HTTP_ACCEPT": "*/*",
    }
    for name, value in expected.items():
        assert environ[name] == value, name
    assert "CONTENT_TYPE" not in environ and "CONTENT_LENGTH" not in environ
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.run_once"] is False
    assert environ["wsgi.input_terminated"] is True


def test_the_environment_of_the_process_is_not_included(environ_of, monkeypatch):
    monkeypatch.setenv("AMBOSS_SECRET", "x")
    monkeypatch.setenv("HTTP_SECRET", "x")
    environ = environ_of(request())
    assert "AMBOSS_SECRET" not in environ and "HTTP_SECRET" not in environ
    known = {"SERVER_NAME", "SERVER_PORT"}
    assert not (set(os.environ) & set(environ)) - known


def test_each_request_has_its_own_dict(serve):
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        assert "mine" not in environ
        environ["mine"] = "yes"
        del environ["SERVER_NAME"]
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app, validate=False).client()
    for _ in range(3):
        assert client.get().status == 200
    assert len({id(environ) for environ in seen}) == 3


LATIN_1 = {
    "a path": ("/%FC%e4", "", "PATH_INFO", "\xfc\xe4"),
    "a path in UTF-8": ("/%E2%82%AC", "", "PATH_INFO", "\xe2\x82\xac"),
    "a header": ("/", "X-A: \xe4\xff\x80\r\n", "HTTP_X_A", "\xe4\xff\x80"),
    "a query": ("/?a=%FC", "", "QUERY_STRING", "a=%FC"),
    "NUL": ("/%00", "", "PATH_INFO", "\x00"),
    "a slash": ("/a%2Fb", "", "PATH_INFO", "a/b"),
    "a percent sign without digits": ("/a%zz%", "", "PATH_INFO", "a%zz%"),
    "plus": ("/a+b?c+d", "", "PATH_INFO", "a+b"),
    "an empty query": ("/a?", "", "QUERY_STRING", ""),
    "a question mark in a query": ("/a?b?c", "", "QUERY_STRING", "b?c"),
    "a parameter": ("/a;b=c", "", "PATH_INFO", "a;b=c"),
}


@pytest.mark.parametrize("case", LATIN_1)
def test_bytes_are_decoded_as_latin_1(environ_of, case):
    target, headers, name, value = LATIN_1[case]
    environ = environ_of(request(target, headers))
    assert environ[name] == ("/" + value if name == "PATH_INFO" else value)


TARGETS = {
    "//a/b": ("/a/b", "localhost"),
    "http://other:81/a?b": ("/a", "other:81"),
    "http://other": ("/", "other"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_split_and_decoded(environ_of, target):
    path, host = TARGETS[target]
    environ = environ_of(request(target))
    assert (environ["PATH_INFO"], environ["HTTP_HOST"], environ["RAW_URI"]) == (path, host, target)


def test_the_asterisk_target_has_an_empty_path(environ_of):
    environ = environ_of(request("*", method="OPTIONS"))
    assert (environ["REQUEST_METHOD"], environ["RAW_URI"], environ["REQUEST_URI"]) == ("OPTIONS", "*", "*")
    # PEP 3333: a path begins with a slash, and `*` does not.
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", "", "")


def test_content_type_and_length_have_no_prefix(environ_of):
    environ = environ_of(request(method="POST", headers="Content-Type: a/b\r\nContent-Length: 0\r\n"))
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("a/b", "0")
    assert "HTTP_CONTENT_TYPE" not in environ and "HTTP_CONTENT_LENGTH" not in environ


@pytest.mark.parametrize(
    "headers, name, value",
    [
        ("X-A: b\r\nX-A: c\r\n", "HTTP_X_A", "b,c"),
        ("X-A: b\r\nx-a: c\r\nX-a: d\r\n", "HTTP_X_A", "b,c,d"),
        ("Cookie: a=b\r\nCookie: c=d\r\n", "HTTP_COOKIE", "a=b; c=d"),
        ("Accept: a\r\nAccept: b, c\r\n", "HTTP_ACCEPT", "a,b, c"),
    ],
)
def test_repeated_headers_are_joined(environ_of, headers, name, value):
    got = environ_of(request(headers=headers))[name]
    assert got.replace(", ", ",") == value.replace(", ", ",")


def test_names_with_an_underscore_are_dropped(environ_of):
    headers = "X_Forwarded_For: evil\r\nX-Forwarded-For: real\r\nContent_Length: 5\r\nX_A: b\r\n"
    environ = environ_of(request(headers=headers))
    assert environ["HTTP_X_FORWARDED_FOR"] == "real"
    assert "CONTENT_LENGTH" not in environ and "HTTP_X_A" not in environ
    environ = environ_of(request(headers="X-B: c\r\nX-B: d\r\nX_B: evil\r\n"))
    assert environ["HTTP_X_B"].replace(" ", "") == "c,d"


def test_no_header_replaces_another_variable(environ_of):
    headers = "Proxy: evil\r\nwsgi.input: evil\r\nServer-Name: evil\r\nPath-Info: /evil\r\n"
    environ = environ_of(request(headers=headers))
    assert environ["SERVER_NAME"] == "127.0.0.1" and environ["PATH_INFO"] == "/"
    assert environ["HTTP_SERVER_NAME"] == "evil"
    assert not isinstance(environ["wsgi.input"], str)


def test_an_http_1_0_request_needs_no_host(environ_of):
    environ = environ_of(b"GET / HTTP/1.0\r\n\r\n")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0" and "HTTP_HOST" not in environ


def test_requests_do_not_inherit_from_earlier_ones(serve):
    seen = []

    def app(environ, start_response):
        seen.append({name for name in environ if name.startswith(("HTTP_", "CONTENT_"))})
        environ["wsgi.input"].read(10)
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client()
    client.get(method="POST", headers="X-A: b\r\nContent-Type: a/b\r\n", body=b"abc")
    client.get()
    assert seen == [{"HTTP_HOST", "HTTP_X_A", "CONTENT_TYPE", "CONTENT_LENGTH"}, {"HTTP_HOST"}]


@pytest.mark.parametrize("method", ["GET", "PUT", "PROPFIND", "M-SEARCH", "get", "BREW!"])
def test_methods_are_passed_unchanged(environ_of, method):
    # The validator warns about methods that it does not know.
    assert environ_of(request(method=method), validate=False)["REQUEST_METHOD"] == method


def test_unusual_header_names_are_accepted(environ_of):
    headers = "".join(f"X-{number}: {number}\r\n" for number in range(90)) + "!#$%&'*+.^`|~-1: odd\r\n"
    environ = environ_of(request(headers=headers))
    assert environ["HTTP_X_89"] == "89" and environ["HTTP_!#$%&'*+.^`|~_1"] == "odd"


def test_more_header_names_than_the_cache_holds_are_accepted(serve):
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client()
    for number in range(600):
        client.get(headers=f"X-Name-{number}: {number}\r\n")
        assert seen[-1][f"HTTP_X_NAME_{number}"] == str(number)


@pytest.mark.parametrize(
    "options, multithread, multiprocess",
    [
        ({}, True, False),
        ({"threads": 1}, False, False),
        ({"threads": 2}, True, False),
        ({"threaded": False}, False, False),
    ],
)
def test_multithread_and_multiprocess_are_correct(environ_of, options, multithread, multiprocess):
    environ = environ_of(request(), **options)
    assert environ["wsgi.multithread"] is multithread
    assert environ["wsgi.multiprocess"] is multiprocess


def test_tls_sets_the_scheme(environ_of):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    environ = environ_of(request(), tls=context, ssl_context="adhoc")
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["SSL_PROTOCOL"].startswith("TLSv1.")
    assert type(environ["SSL_CIPHER"]) is str
    assert "werkzeug.socket" not in environ
    assert environ["amboss.client_disconnected"]() is False


def test_a_unix_socket_sets_the_addresses(tmp_path, log):
    import threading

    from client import Client

    seen = []

    def app(environ, start_response):
        seen.append(environ)
        start_response("200 OK", PLAIN)
        return [b"unix"]

    path = str(tmp_path / "s")
    server = amboss.make_server("unix://" + path, 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Client(path) as client:
            assert client.get().body == b"unix"
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
    assert (seen[0]["REMOTE_ADDR"], seen[0]["REMOTE_PORT"]) == ("<local>", "0")
