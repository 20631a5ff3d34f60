"""``start_response`` and ``write`` as PEP 3333 defines them."""

import sys

import pytest

PLAIN = [("Content-Type", "text/plain")]


def test_a_simple_application_is_served(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return [b"Hello"]

    response = serve(app).get()
    assert (response.status, response.reason, response.body, response.complete) == (200, "OK", b"Hello", True)
    assert response.header("Content-Type") == "text/plain"


def test_start_response_may_be_called_during_the_first_iteration(serve):
    def app(environ, start_response):
        start_response("201 Created", PLAIN)
        yield b"late"

    response = serve(app).get()
    assert (response.status, response.body) == (201, b"late")


def test_start_response_may_be_called_before_the_first_block_that_is_not_empty(serve):
    def app(environ, start_response):
        yield b""
        yield b""
        start_response("202 Accepted", PLAIN)
        yield b"later"

    # The validator wants the call before the first block, even if that is empty.
    response = serve(app, validate=False).get()
    assert (response.status, response.body, response.complete) == (202, b"later", True)


def test_start_response_may_be_called_in_iter(serve):
    class App:
        def __init__(self, environ, start_response):
            self.start_response = start_response

        def __iter__(self):
            self.start_response("203 Fine", PLAIN)
            return iter([b"made"])

    assert serve(App, validate=False).get()[:2] == (203, "Fine")


def test_a_second_call_without_exc_info_is_an_error(serve, log):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)
        return [b"never"]

    assert serve(app).get().status == 500
    log.wait_for("start_response was called a second time without exc_info")


def test_a_missing_call_is_a_500(serve, log):
    served = serve(lambda environ, start_response: [b"body"], validate=False)
    assert served.get().status == 500
    log.wait_for("without calling start_response")


@pytest.mark.parametrize("result", ["list", "generator", "empty", "empty generator"])
def test_a_missing_call_is_a_500_for_every_kind_of_result(serve, result):
    def generator():
        yield b"block"

    results = {
        "list": lambda: [b"1", b"2"],
        "generator": generator,
        "empty": lambda: [],
        "empty generator": lambda: iter(()),
    }
    served = serve(lambda environ, start_response: results[result](), validate=False)
    assert served.get().status == 500


def test_exc_info_replaces_the_head_before_it_is_sent(serve):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-First", "yes")])
        try:
            raise ValueError("second thoughts")
        except ValueError:
            start_response("503 Later", [("Content-Type", "text/html")], sys.exc_info())
        return [b"sorry"]

    response = serve(app).get()
    assert (response.status, response.body) == (503, b"sorry")
    assert response.header("Content-Type") == "text/html"
    assert response.header("X-First") is None


def test_exc_info_may_be_passed_in_the_first_call_and_by_name(serve):
    def app(environ, start_response):
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", PLAIN, exc_info=sys.exc_info())
        return [b"sorry"]

    # The validator passes exc_info only by position.
    assert serve(app, validate=False).get()[:2] == (500, "Oh")


def test_exc_info_may_be_none(serve):
    def app(environ, start_response):
        start_response("200 OK", PLAIN, None)
        return [b"fine"]

    assert serve(app).get().status == 200


def test_exc_info_is_raised_again_after_the_head_was_sent(serve, log):
    seen = []

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"begun"
        try:
            raise ValueError("in the middle")
        except ValueError:
            try:
                start_response("500 Oh", PLAIN, sys.exc_info())
            except ValueError as error:
                seen.append(error)
                raise

    response = serve(app).get()
    assert (response.status, response.body, response.complete) == (200, b"begun", False)
    assert [str(error) for error in seen] == ["in the middle"]
    text = log.wait_for("ValueError: in the middle")
    assert "test_start_response.py" in text


def test_exc_info_is_raised_again_after_write(serve):
    seen = []

    def app(environ, start_response):
        start_response("200 OK", PLAIN)(b"begun")
        try:
            raise KeyError("k")
        except KeyError:
            try:
                start_response("500 Oh", PLAIN, sys.exc_info())
            except KeyError as error:
                seen.append(error)
                raise
        return []

    response = serve(app).get()
    assert (response.status, response.body, response.complete, len(seen)) == (200, b"begun", False, 1)


def test_blocks_of_write_are_sent_first(serve):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"one ")
        write(b"")
        write(b"two ")
        return [b"three ", b"four"]

    response = serve(app).get()
    assert (response.status, response.body, response.complete) == (200, b"one two three four", True)


def test_write_sends_at_once(serve, gate):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"first")
        assert gate.wait()
        return [b"second"]

    client = serve(app).client().request()
    assert client.read_head().status == 200
    assert client.read_chunk() == b"first"
    gate.open()
    assert client.read_chunk() == b"second"
    assert client.read_chunk() == b""


def test_a_generator_may_call_write(serve):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"one ")
        yield b"two"

    assert serve(app, validate=False).get().body == b"one two"


def test_write_after_the_response_is_an_error(serve):
    kept = []

    def app(environ, start_response):
        kept[:] = [start_response("200 OK", PLAIN), start_response]
        return [b"done"]

    served = serve(app, validate=False)
    assert served.get().body == b"done"
    with pytest.raises(RuntimeError, match="after the request was answered"):
        kept[0](b"too late")
    with pytest.raises(RuntimeError, match="after the request was answered"):
        kept[1]("200 OK", [])


WRONG = {
    "a status of bytes": (b"200 OK", PLAIN, TypeError, "must be a str"),
    "an int as status": (200, PLAIN, TypeError, "must be a str"),
    "a status without a number": ("OK", PLAIN, ValueError, ""),
    "a status of two digits": ("20 OK", PLAIN, ValueError, ""),
    "an empty status": ("", PLAIN, ValueError, ""),
    "a status with a line feed": ("200 OK\nX: y", PLAIN, ValueError, ""),
    "a status beyond latin-1": ("200 \u20ac", PLAIN, ValueError, ""),
    "headers as a dict": ("200 OK", {"A": "b"}, TypeError, "list of (name, value) tuples"),
    "headers as lists": ("200 OK", [["A", "b"]], TypeError, "list of (name, value) tuples"),
    "a header of three": ("200 OK", [("A", "b", "c")], TypeError, "tuples of 3"),
    "a value of bytes": ("200 OK", [("A", b"b")], TypeError, "not of bytes"),
    "a name of bytes": ("200 OK", [(b"A", "b")], TypeError, "not of bytes"),
    "an int as value": ("200 OK", [("Content-Length", 3)], TypeError, "not of int"),
    "a value beyond latin-1": ("200 OK", [("A", "\u20ac")], ValueError, "latin-1"),
    "a name beyond ASCII": ("200 OK", [("\xe4", "b")], ValueError, "ASCII"),
    "a name with a space": ("200 OK", [("A B", "b")], ValueError, ""),
    "an empty name": ("200 OK", [("", "b")], ValueError, ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_raise_in_the_application(serve, log, case):
    status, headers, kind, part = WRONG[case]
    seen = []

    def app(environ, start_response):
        try:
            start_response(status, headers)
        except Exception as error:
            seen.append(error)
            raise
        return [b"abc"]

    assert serve(app, validate=False).get().status == 500
    assert len(seen) == 1 and type(seen[0]) is kind and part in str(seen[0]), seen
    log.wait_for(kind.__name__)


def test_a_tuple_of_headers_and_subclasses_of_str_are_accepted(serve):
    class Text(str):
        pass

    def app(environ, start_response):
        start_response(Text("200 OK"), ((Text("X-A"), Text("b")),))
        return (b"abc",)

    response = serve(app, validate=False).get()
    assert (response.header("X-A"), response.body) == ("b", b"abc")


def test_latin_1_in_headers_and_status_is_sent_byte_by_byte(serve):
    def app(environ, start_response):
        start_response("200 OK", [("X-Name", "M\xfcller"), ("Content-Type", "text/plain")])
        return [b""]

    assert serve(app).get().header("X-Name") == "M\xfcller"


def test_the_status_line_is_as_given(serve):
    def app(environ, start_response):
        start_response("299 Very Special Indeed", PLAIN)
        return [b""]

    assert serve(app).get()[:2] == (299, "Very Special Indeed")


@pytest.mark.parametrize("arguments", [(), ("200 OK",), ("200 OK", [], None, None)])
def test_a_wrong_number_of_arguments_is_a_type_error(serve, log, arguments):
    def app(environ, start_response):
        start_response(*arguments)
        return []

    assert serve(app, validate=False).get().status == 500
    log.wait_for("TypeError")
