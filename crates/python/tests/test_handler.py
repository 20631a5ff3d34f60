"""``request_handler``: what a subclass of ``WSGIRequestHandler`` can change."""

import threading

import amboss
import pytest
from amboss.serving import WSGIRequestHandler

from greenlets import needs_threads
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("failed")
    start_response("200 OK", PLAIN)
    return [environ.get("my.key", "none").encode()]


def test_make_environ_changes_the_environ(serve):
    class Handler(WSGIRequestHandler):
        def make_environ(self):
            environ = super().make_environ()
            environ["my.key"] = f"{self.command} {self.path} {self.client_address[0]}"
            return environ

    client = serve(app, request_handler=Handler).client()
    assert client.get("/a?b").body == b"GET /a?b 127.0.0.1"
    assert client.get("/c", method="PUT").body == b"PUT /c 127.0.0.1"


def test_make_environ_may_return_another_dict(serve):
    class Handler(WSGIRequestHandler):
        def make_environ(self):
            return {**super().make_environ(), "my.key": "another"}

    assert serve(app, request_handler=Handler).get().body == b"another"


def test_an_error_in_make_environ_is_a_500(serve, log):
    class Handler(WSGIRequestHandler):
        def make_environ(self):
            raise ValueError("no environ")

    served = serve(app, request_handler=Handler)
    for _ in range(2):
        assert served.get().status == 500
    log.wait_for("ValueError: no environ")


def test_log_request_is_called_with_status_and_size(serve, log):
    seen = []

    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            seen.append((self.requestline, code, size, self.environ["PATH_INFO"]))

    served = serve(app, request_handler=Handler)
    client = served.client()
    client.get("/a")
    client.get("/b")
    client.get("/fail")
    client.get("/c", method="HEAD")
    wait_until(lambda: len(seen) == 4)
    assert seen[0] == ("GET /a HTTP/1.1", 200, 4, "/a")
    assert [one[:2] for one in seen[1:]] == [
        ("GET /b HTTP/1.1", 200),
        ("GET /fail HTTP/1.1", 500),
        ("HEAD /c HTTP/1.1", 200),
    ]
    assert '"GET /a HTTP/1.1" 200' not in log.text


@needs_threads
def test_log_request_is_called_for_each_concurrent_request(serve):
    seen = []
    together = threading.Barrier(5)

    def waiting(environ, start_response):
        together.wait(TIMEOUT)
        start_response("200 OK", PLAIN)
        return iter([environ["QUERY_STRING"].encode(), b"."])

    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            seen.append((self.environ["QUERY_STRING"], code, size))

    served = serve(waiting, request_handler=Handler)
    clients = [served.client() for _ in range(5)]
    for round_ in range(4):
        for number, client in enumerate(clients):
            client.request(f"/?{number}{'x' * round_}")
        for client in clients:
            assert client.read_response().status == 200
    wait_until(lambda: len(seen) == 20)
    expected = [(f"{number}{'x' * round_}", 200, 2 + round_) for round_ in range(4) for number in range(5)]
    assert sorted(seen) == sorted(expected)


def test_log_request_is_called_for_each_pipelined_request(serve):
    seen = []

    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            seen.append(self.path)

    client = serve(app, request_handler=Handler).client()
    client.request("/1").request("/2").request("/3")
    for _ in range(3):
        client.read_response()
    wait_until(lambda: len(seen) == 3)
    assert seen == ["/1", "/2", "/3"]


def test_log_request_of_the_base_class_writes_werkzeugs_format(serve, log):
    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            super().log_request(code, size)

    serve(app, request_handler=Handler).get("/a%0Ab?c")
    text = log.wait_for('"GET /a%0Ab?c HTTP/1.1" 200 4')
    assert text.startswith("127.0.0.1 - - [")


def test_every_log_method_calls_log(serve):
    seen = []

    class Handler(WSGIRequestHandler):
        def log(self, type, message, *args):
            seen.append((type, message % args))

    serve(app, request_handler=Handler).get("/a")
    wait_until(lambda: seen)
    assert seen == [("info", '"GET /a HTTP/1.1" 200 4')]


def test_an_error_in_log_request_is_only_logged(serve, log):
    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            raise ValueError("can't log")

    client = serve(app, request_handler=Handler).client()
    for _ in range(2):
        assert client.get().body == b"none"
    log.wait_for("ValueError: can't log")


def test_a_rejected_request_is_logged_by_the_server(serve, log):
    class Handler(WSGIRequestHandler):
        def log_request(self, code="-", size="-"):
            raise AssertionError

    assert serve(app, request_handler=Handler).client().send(b"GET / HTTP/1.1\r\n\r\n").read_response().status == 400
    log.wait_for(" 400 ")


def test_the_base_class_changes_nothing(serve, log):
    assert serve(app, request_handler=WSGIRequestHandler).get("/a").status == 200
    log.wait_for('"GET /a HTTP/1.1" 200')


def test_a_handler_knows_its_request(serve):
    seen = []

    class Handler(WSGIRequestHandler):
        def make_environ(self):
            seen.append(self)
            return super().make_environ()

    client = serve(app, request_handler=Handler).client()
    client.get("/a")
    handler = seen[0]
    assert handler.client_address == client.socket.getsockname()
    assert (handler.address_string(), handler.port_integer()) == handler.client_address
    assert handler.server_version == f"amboss/{amboss.__version__}"
    assert handler.request_version == "HTTP/1.1"


def test_a_handler_may_name_the_server(serve):
    class Named(WSGIRequestHandler):
        server_version = "me/2"

    class Function(WSGIRequestHandler):
        def version_string(self):
            return f"{super().version_string()} more"

    class Property(WSGIRequestHandler):
        @property
        def server_version(self):
            return "it/3"

    class Silent(WSGIRequestHandler):
        server_version = ""

    more = f"amboss/{amboss.__version__} more"
    for handler, value in ((Named, "me/2"), (Function, more), (Property, "it/3"), (Silent, None)):
        assert serve(app, request_handler=handler).get().header("Server") == value
    with pytest.raises(ValueError, match="printable ASCII"):
        serve(app, request_handler=type("Bad", (WSGIRequestHandler,), {"server_version": "a\r\nb"}))


@pytest.mark.parametrize("threaded", [True, False])
def test_handlers_are_released(serve, threaded):
    import gc
    import weakref

    kept = []

    class Handler(WSGIRequestHandler):
        def make_environ(self):
            kept.append(weakref.ref(self))
            return super().make_environ()

    served = serve(app, request_handler=Handler, threaded=threaded)
    for _ in range(3):
        served.get()

    def gone():
        served.get()
        gc.collect()
        return kept[0]() is None

    wait_until(gone)
