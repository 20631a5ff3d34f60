"""Applications that fail: the client's view, the log, and that the server continues."""

import json
import sys
import threading

import pytest

from greenlets import needs_threads
from commands import Folder, serving_command
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"Hello"]


def failing(error):
    """Returns an application that raises, except for ``/fine``."""

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/fine":
            return hello(environ, start_response)
        raise error

    return app


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class UnprintableBase(BaseException):
    pass


def cyclic():
    error = ValueError("cyclic")
    error.__cause__ = error
    return error


ERRORS = {
    "an exception": lambda: ValueError("what went wrong"),
    "an exception without text": lambda: ValueError(),
    "an exception whose text raises": Unprintable,
    "an exception that is its own cause": cyclic,
    "a lone surrogate": lambda: ValueError("\udc80"),
    "a NUL and a line feed": lambda: ValueError("a\0b\nc"),
    "a syntax error": lambda: SyntaxError("bad", ("file", 1, 2, "text")),
    "a stop iteration": lambda: StopIteration(5),
    "a generator exit": GeneratorExit,
    "a base exception": UnprintableBase,
    "SystemExit": SystemExit,
    "SystemExit with a code": lambda: SystemExit(3),
    "SystemExit with a text": lambda: SystemExit("so long"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "a recursion error": RecursionError,
    "a memory error": MemoryError,
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_a_500_and_the_server_continues(serve, log, case):
    error = ERRORS[case]()
    served = serve(failing(error), validate=False)
    client = served.client()
    for _ in range(2):
        response = client.get()
        assert (response.status, response.complete) == (500, True)
        assert client.get("/fine").body == b"Hello"
    log.wait_for(type(error).__name__)
    assert served.thread.is_alive()


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_in_the_body_truncates_the_response_and_the_server_continues(serve, log, case):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)

        class Body:
            def __init__(self):
                self.blocks = [b"begun"]

            def __iter__(self):
                return self

            def __next__(self):
                if self.blocks:
                    return self.blocks.pop()
                raise ERRORS[case]()

        return Body()

    served = serve(app, validate=False)
    response = served.get()
    # StopIteration is the normal end of the body, not an error.
    assert (response.body, response.complete) == (b"begun", case == "a stop iteration")
    assert served.get().status == 200


def test_a_recursion_error_does_not_end_the_process(serve, log):
    def app(environ, start_response):
        return app(environ, start_response)

    served = serve(app, validate=False)
    for _ in range(3):
        assert served.get().status == 500
    log.wait_for("RecursionError")


def test_a_traceback_is_logged_once_and_completely(serve, log):
    def inner():
        raise KeyError("the cause")

    def app(environ, start_response):
        try:
            inner()
        except KeyError as error:
            raise ValueError('the "effect" \xe4 \u20ac') from error

    assert serve(app).get("/path?query").status == 500
    text = log.wait_for("ValueError")
    text = log.wait_for('"GET /path?query HTTP/1.1" 500')
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("KeyError: 'the cause'") == 1
    assert text.count('ValueError: the "effect" \xe4 \u20ac') == 1
    assert text.count("in inner") == 1
    assert "The above exception was the direct cause" in text
    assert text.index("KeyError: 'the cause'") < text.index("ValueError: the")
    # The traceback shows the original exception, not only the outer one.
    assert "raise KeyError(" in text


def test_the_client_sees_no_details_of_the_error(serve):
    served = serve(failing(ValueError("secret")))
    response = served.get()
    assert b"secret" not in response.body and b"ValueError" not in response.body and response.status == 500


def test_errors_is_line_buffered(serve, log, gate):
    def app(environ, start_response):
        errors = environ["wsgi.errors"]
        errors.write("first ")
        errors.write("half\nsecond half")
        assert gate.wait()
        errors.write(" is here\n")
        errors.writelines(["third\n", "fourth\n"])
        errors.write("without an end")
        errors.flush()
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client().request()
    text = log.wait_for("first half\n")
    assert "second half" not in text
    gate.open()
    assert client.read_response().status == 200
    text = log.wait_for("without an end")
    assert "first half\nsecond half is here\nthird\nfourth\nwithout an end" in text


def test_an_unterminated_line_is_logged_with_its_request(serve, log):
    def app(environ, start_response):
        environ["wsgi.errors"].write(f"<{environ['QUERY_STRING']}>")
        start_response("200 OK", PLAIN)
        if environ["PATH_INFO"] == "/stream":
            return stream(environ)
        return [b""]

    def stream(environ):
        for number in range(2):
            environ["wsgi.errors"].write(f"<{environ['QUERY_STRING']} {number}>")
            yield b"block"

    client = serve(app, validate=False, threads=1).client()
    for number in range(3):
        client.get(f"/?{number}")
        # The line was logged before the response was sent, and is not joined to a later one.
        assert f"<{number}>\n" in log.text
    client.get("/stream?s")
    text = log.wait_for('/stream?s HTTP/1.1" 200')
    lines = [line for line in text.splitlines() if line.startswith("<")]
    assert lines == ["<0>", "<1>", "<2>", "<s><s 0>", "<s 1>"]


def test_an_unterminated_line_is_logged_if_the_request_fails(serve, log):
    def app(environ, start_response):
        environ["wsgi.errors"].write("begun")
        raise ValueError("failed")

    assert serve(app, validate=False).get().status == 500
    assert "begun\n" in log.wait_for("ValueError")


def test_the_last_line_of_a_thread_is_logged_when_it_ends(serve, log):
    kept = []

    def app(environ, start_response):
        kept.append(environ["wsgi.errors"])
        start_response("200 OK", PLAIN)
        return [b""]

    serve(app, validate=False).get()
    thread = threading.Thread(target=lambda: kept[0].write("last words"))
    thread.start()
    thread.join(TIMEOUT)
    log.wait_for("last words\n")


def test_text_without_a_line_feed_is_not_buffered_without_limit(serve, log):
    written, go_on = threading.Barrier(11), threading.Event()
    kept = []

    def app(environ, start_response):
        kept.append(environ["wsgi.errors"])
        start_response("200 OK", PLAIN)
        return [b""]

    def write():
        kept[0].write("x" * 1_000_000)
        written.wait(TIMEOUT)
        assert go_on.wait(TIMEOUT)

    serve(app, validate=False).get()
    threads = [threading.Thread(target=write) for _ in range(10)]
    for thread in threads:
        thread.start()
    written.wait(TIMEOUT)
    # All threads still exist, but none of them has buffered its text.
    text = log.text
    go_on.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert text.count("x" * 1_000_000) == 10


def test_errors_works_with_print_and_logging(serve, log):
    import logging

    def app(environ, start_response):
        print("printed", "\u20ac", file=environ["wsgi.errors"])
        logger = logging.Logger("app")
        logger.addHandler(logging.StreamHandler(environ["wsgi.errors"]))
        logger.error("logged")
        start_response("200 OK", PLAIN)
        return [b""]

    assert serve(app, validate=False).get().status == 200
    assert "printed \u20ac\nlogged\n" in log.wait_for("logged\n")


PRINTED = """
import traceback

def plain():
    raise ValueError("one\\ntwo")

def chained():
    try:
        plain()
    except ValueError:
        {}["three"]

def grouped():
    raise ExceptionGroup("four", [ValueError("five"), KeyError("six")])

def wrong():
    compile("1 +", "seven", "exec")

def app(environ, start_response):
    errors = environ["wsgi.errors"]
    print("before", file=errors)
    try:
        globals()[environ["PATH_INFO"][1:]]()
    except Exception:
        traceback.print_exc(file=errors)
    if environ["QUERY_STRING"]:
        try:
            plain()
        except Exception:
            traceback.print_exc(file=errors)
    else:
        print("behind", file=errors)
    start_response("200 OK", [])
    return []
"""


def test_a_printed_traceback_is_one_log_entry(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("printed.py", PRINTED)
    with serving_command(folder.path, "--log-format", "json", "printed:app") as server:
        whats = {"plain": "ValueError: one", "chained": "KeyError: 'three'", "wrong": "SyntaxError: invalid syntax"}
        if sys.version_info >= (3, 11):
            whats["grouped"] = "ExceptionGroup: four (2 sub-exceptions)"
        for what in whats:
            server.get(f"/{what}")
        server.get("/plain?again")
        wait_until(lambda: server.log().count('"path":') == len(whats) + 1, "the last line")
        entries = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
        errors = [entry for entry in entries if "path" not in entry]
        assert [entry["error"] for entry in errors[-3:]] == ["before", "ValueError: one", "ValueError: one"]
        del errors[-3:]
        assert [entry["error"] for entry in errors[::3]] == ["before"] * len(whats)
        assert [entry["error"] for entry in errors[2::3]] == ["behind"] * len(whats)
        for what, entry in zip(whats, errors[1::3]):
            assert entry["error"] == whats[what]
            assert entry["traceback"].count("Traceback (most recent call last)") == (2 if what == "chained" else 1)


def test_errors_accepts_only_str(serve, log):
    seen = []

    def app(environ, start_response):
        try:
            environ["wsgi.errors"].write(b"bytes")
        except TypeError as error:
            seen.append(str(error))
        start_response("200 OK", PLAIN)
        return [b""]

    assert serve(app, validate=False).get().status == 200
    assert "not bytes" in seen[0]


@needs_threads
def test_lines_of_different_threads_are_not_mixed(serve, log):
    together = threading.Barrier(4)

    def app(environ, start_response):
        errors = environ["wsgi.errors"]
        name = environ["QUERY_STRING"]
        together.wait(TIMEOUT)
        for number in range(50):
            errors.write(f"<{name} ")
            errors.write(f"{number}>\n")
        start_response("200 OK", PLAIN)
        return [b""]

    served = serve(app)
    clients = [served.client().request(f"/?{name}") for name in "abcd"]
    assert [client.read_response().status for client in clients] == [200] * 4
    text = log.wait_for('HTTP/1.1" 200')
    for name in "abcd":
        for number in range(50):
            assert f"<{name} {number}>\n" in text


@pytest.mark.parametrize("case", ["call", "generator", "mid-body"])
@pytest.mark.parametrize("threaded", [True, False])
def test_passthrough_errors_raises_the_applications_exception(serve, case, threaded):
    class Own(Exception):
        pass

    error = Own("mine")

    def app(environ, start_response):
        if case == "call":
            raise error
        return body(start_response)

    def body(start_response):
        start_response("200 OK", PLAIN)
        if case == "mid-body":
            yield b"begun"
        raise error

    served = serve(app, passthrough_errors=True, threaded=threaded)
    client = served.client().request()
    client.read_to_end()
    served.thread.join(TIMEOUT)
    assert served.raised is error
    names = []
    traceback = error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == ("app" if case == "call" else "body")


def test_passthrough_errors_does_not_raise_errors_of_clients(serve):
    served = serve(lambda environ, start_response: environ["wsgi.input"].read(100_000), passthrough_errors=True)
    client = served.client().request(method="POST", headers="Content-Length: 100000\r\n").send(b"x")
    client.socket.shutdown(1)
    assert client.read_response().status == 400
    with served.client() as client:
        client.request(method="POST", headers="Content-Length: 100000\r\n").send(b"x").socket.shutdown(1)
        assert client.read_response().status == 400
    assert served.thread.is_alive()


def test_sys_exc_info_is_clear_in_the_next_request(serve):
    seen = []

    def app(environ, start_response):
        seen.append(sys.exc_info())
        if environ["PATH_INFO"] == "/fail":
            raise ValueError
        return hello(environ, start_response)

    client = serve(app).client()
    assert [client.get(path).status for path in ("/fail", "/", "/fail", "/")] == [500, 200, 500, 200]
    assert seen == [(None, None, None)] * 4


def test_the_locals_of_an_error_are_released(serve):
    import gc
    import weakref

    class Held:
        pass

    kept = []

    def app(environ, start_response):
        held = Held()
        kept.append(weakref.ref(held))
        raise ValueError

    served = serve(app, validate=False)
    assert served.get().status == 500

    def gone():
        # An object that a server thread has released is freed when the interpreter is entered again.
        served.get()
        gc.collect()
        return kept[0]() is None

    wait_until(gone)
