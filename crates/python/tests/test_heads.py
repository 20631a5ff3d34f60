"""Response heads: what an application may put into them, and what the server adds."""

import email.utils

import pytest

PLAIN = [("Content-Type", "text/plain")]


def answering(headers):
    def app(environ, start_response):
        start_response("200 OK", PLAIN + headers)
        return [b"body"]

    return app


SPLITTING = {
    "CR LF in a value": ("X-A", "b\r\nSet-Cookie: c=d"),
    "LF in a value": ("X-A", "b\nSet-Cookie: c=d"),
    "CR in a value": ("X-A", "b\rc"),
    "NUL in a value": ("X-A", "b\0c"),
    "LF at the end": ("X-A", "b\n"),
    "CR LF in a name": ("X-A\r\nSet-Cookie", "b"),
    "LF in a name": ("X-A\n", "b"),
    "NUL in a name": ("X\0A", "b"),
    "a colon in a name": ("X-A:", "b"),
}


@pytest.mark.parametrize("case", SPLITTING)
def test_a_header_with_a_line_break_is_a_500(serve, log, case):
    served = serve(answering([SPLITTING[case]]), validate=False)
    response = served.get()
    assert (response.status, response.header("Set-Cookie"), response.complete) == (500, None, True)
    log.wait_for("ValueError")


HOP_BY_HOP = [
    ("Connection", "close"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authorization", "Basic abc"),
    ("TE", "trailers"),
    ("Trailer", "X-A"),
    ("Trailers", "X-A"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "h2c"),
    ("connection", "close"),
    ("TRANSFER-ENCODING", "identity"),
]


@pytest.mark.parametrize("header", HOP_BY_HOP, ids=lambda header: header[0])
def test_hop_by_hop_headers_are_a_500(serve, log, header):
    assert serve(answering([header]), validate=False).get().status == 500
    text = log.wait_for("ValueError")
    assert header[0].lower() in text.lower()


def test_an_invalid_head_can_be_replaced(serve):
    def app(environ, start_response):
        try:
            start_response("200 OK", PLAIN + [("X-A", "b\r\nc")])
        except ValueError:
            start_response("418 Teapot", PLAIN)
        return [b"body"]

    assert serve(app, validate=False).get()[:2] == (418, "Teapot")


def test_date_and_server_are_added(serve):
    import amboss

    response = serve(answering([])).get()
    assert email.utils.parsedate_to_datetime(response.header("Date"))
    assert response.header("Server") == f"amboss/{amboss.__version__}"


@pytest.mark.parametrize("names", [("Date", "Server"), ("date", "server"), ("DATE", "SERVER")])
def test_date_and_server_of_the_application_are_kept(serve, names):
    date = "Sat, 01 Jan 2000 00:00:00 GMT"
    response = serve(answering([(names[0], date), (names[1], "mine")])).get()
    # `header` fails if there are two.
    assert (response.header("Date"), response.header("Server")) == (date, "mine")


def test_headers_keep_their_order_and_may_repeat(serve):
    headers = [("Set-Cookie", "a=1"), ("X-A", ""), ("Set-Cookie", "b=2"), ("x-LOWER-Upper", "  spaces inside  ok")]
    response = serve(answering(headers)).get()
    assert response.all("Set-Cookie") == ["a=1", "b=2"]
    assert response.header("X-A") == ""
    assert [name for name, _ in response.headers][:5] == ["Content-Type"] + [name for name, _ in headers]


def test_many_headers_are_sent(serve):
    headers = [(f"X-{number}", "v" * 100) for number in range(500)]
    response = serve(answering(headers)).get()
    assert [pair for pair in response.headers if pair[0].startswith("X-")] == headers


def test_the_applications_header_list_is_not_changed_and_is_read_once(serve):
    kept = PLAIN + [("X-A", "b")]
    before = list(kept)

    def app(environ, start_response):
        start_response("200 OK", kept)
        return [b"body"]

    served = serve(app)
    for _ in range(3):
        assert served.get().header("X-A") == "b"
    assert kept == before
