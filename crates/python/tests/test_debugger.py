"""``use_debugger`` and ``--debug``: the pages that explain an exception, for whom they are, and Werkzeug's console."""

import json
import re
import sys

import pytest

from commands import MODULE, Folder, run, serving_command
from waiting import wait_until

APP = """
from amboss import run_simple

class Bad:
    def __repr__(self):
        raise RuntimeError("no text")

class Row:
    def __init__(self):
        self.items = list(range(100_000))
    def __repr__(self):
        return repr(self.items)

def find(shelf, password="hunter2"):
    row, bad, long = Row(), Bad(), "x" * 100_000
    try:
        return {}[shelf]
    except KeyError as error:
        raise LookupError(f"no {shelf}") from error

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        find("anvil")
    if path == "/context":
        try:
            find("anvil")
        except LookupError:
            [].pop()
    if path == "/deep":
        return app(environ, start_response)
    if path == "/set":
        start_response("200 OK", [("X-Set", "yes")])
        find("anvil")
    if path == "/first-block":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return blocks()
    if path == "/surrogate":
        raise ValueError("\\udc80 \\0 <b>")
    if path == "/exit":
        raise SystemExit("so long")
    if path == "/syntax":
        compile("def f(:", "made.py", "exec")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]

def blocks():
    find("first")
    yield b""
"""

OURS = "use_debugger=True, use_evalex=False"
JSON = "Accept: application/json\r\n"
HTML = "Accept: text/html,*/*;q=0.8\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = Folder(tmp_path_factory.mktemp("debugger") / "project")
    folder.save("shop.py", APP)
    return folder


@pytest.fixture
def program(script):
    return script(APP + f"run_simple('127.0.0.1', 0, app, {OURS})")


def report(program, path):
    """Returns the report of a failure as JSON."""
    response = program.get(path, headers=JSON)
    assert (response.status, response.header("Content-Type")) == (500, "application/json"), response
    assert response.header("Cache-Control") == "no-store"
    return json.loads(response.body)


def test_a_report_has_frames_with_source_and_locals_and_the_chain_of_causes(program):
    failure = report(program, "/fail?q=1")
    assert (failure["kind"], failure["message"]) == ("LookupError", "no anvil")
    assert [cause["kind"] for cause in failure["causes"]] == ["LookupError", "KeyError"]
    assert not failure["causes"][1]["is_context"]
    inner, outer = failure["causes"][0]["frames"]
    assert (inner["function"], outer["function"]) == ("find", "app")
    assert inner["is_project"] and inner["file"].endswith("script0.py")
    assert [line["text"].strip() for line in inner["source"] if line["is_failing"]] == [
        'raise LookupError(f"no {shelf}") from error'
    ]
    assert len(outer["source"]) == 5
    values = dict(inner["locals"])
    assert values["shelf"] == "'anvil'"
    assert values["bad"] == "<Bad: repr raises RuntimeError>"
    assert len(values["long"]) <= 200 and len(values["row"]) <= 200
    assert "hunter2" not in values["password"]
    assert failure["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert failure["request"]["url"].endswith("/fail?q=1") and failure["request"]["query"] == [["q", "1"]]
    program.wait_for("LookupError: no anvil")
    assert program.err.count("Traceback (most recent call last)") == 2, "the exception and its cause are logged once"


def test_an_exception_during_another_one_is_a_context(program):
    failure = report(program, "/context")
    assert [(cause["kind"], cause["is_context"]) for cause in failure["causes"]] == [
        ("IndexError", False),
        ("LookupError", True),
        ("KeyError", False),
    ]


def test_browsers_get_a_page_and_curl_gets_text(program):
    page = program.get("/fail", headers=HTML)
    assert (page.status, page.header("Content-Type")) == (500, "text/html; charset=utf-8")
    assert b"no anvil" in page.body and b"hunter2" not in page.body
    text = program.get("/fail", headers="Accept: */*\r\n")
    assert (text.status, text.header("Content-Type")) == (500, "text/plain; charset=utf-8")
    assert b"script0.py" in text.body and b"LookupError" in text.body


def test_a_failure_before_the_first_block_gets_a_page_and_replaces_the_head(program):
    assert report(program, "/first-block")["message"] == "no first"
    assert program.get("/set", headers=JSON).header("X-Set") is None


def test_odd_exceptions_are_reported(program):
    failure = report(program, "/deep")
    frames = failure["causes"][0]["frames"]
    assert failure["kind"] == "RecursionError" and len(frames) < 70
    assert any("frames are left out" in frame["function"] for frame in frames)
    assert report(program, "/surrogate")["kind"] == "ValueError"
    assert report(program, "/exit")["kind"] == "SystemExit"
    assert report(program, "/syntax")["causes"][0]["frames"][0]["file"].endswith("made.py")
    assert program.get("/").body == b"fine"


def test_another_host_gets_no_word_of_the_application(program):
    for path in ("/", "/fail"):
        with program.client() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: evil.test\r\n{HTML}\r\n".encode())
            response = client.read_response()
        assert response.status == 421
        assert b"--allowed-host evil.test" in response.body
        assert b"anvil" not in response.body and b"fine" not in response.body
    assert "LookupError" not in program.err


def test_an_allowed_host_is_answered(script):
    program = script(APP + f"run_simple('127.0.0.1', 0, app, {OURS}, allowed_hosts=['dev.test'])")
    for host, status in (("dev.test", 200), ("a.localhost", 200), ("192.168.1.7", 200), ("evil.test", 421)):
        with program.client() as client:
            assert client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).read_response().status == status


def test_other_machines_may_not_reach_the_debugger_unless_asked_for(script):
    refused = script(APP + f"run_simple('0.0.0.0', 0, app, {OURS})")
    assert refused.wait_for_exit() == 1
    assert "--debug-anywhere" in refused.err and "ValueError" in refused.err
    reloading = script(APP + f"run_simple('0.0.0.0', 0, app, use_reloader=True, {OURS})")
    assert reloading.wait_for_exit() == 1
    assert "--debug-anywhere" in reloading.err
    allowed = script(APP + f"run_simple('127.0.0.1', 0, app, {OURS}, debug_anywhere=True)")
    assert report(allowed, "/fail")["message"] == "no anvil"
    assert "WARNING" in allowed.err


def test_passthrough_errors_raises_the_exception(script):
    program = script(APP + f"run_simple('127.0.0.1', 0, app, {OURS}, passthrough_errors=True)")
    with program.client() as client:
        client.request("/fail", headers=JSON).read_to_end()
    assert program.wait_for_exit() == 1
    assert "LookupError: no anvil" in program.err


def test_make_server_has_the_pages(serve):
    def app(environ, start_response):
        raise ValueError("of the application")

    served = serve(app, validate=False, use_debugger=True)
    assert json.loads(served.get(headers=JSON).body)["message"] == "of the application"


def test_flask_shows_its_exceptions_if_it_propagates_them(script):
    pytest.importorskip("flask")
    program = script(
        f"""
        from amboss import run_simple
        from flask import Flask

        app = Flask("shop")
        app.config["PROPAGATE_EXCEPTIONS"] = True

        @app.route("/fail/<int:number>")
        def fail(number):
            return str(10 / number)

        run_simple("127.0.0.1", 0, app, {OURS})
        """
    )
    assert program.get("/fail/2").body == b"5.0"
    failure = report(program, "/fail/0")
    frames = failure["causes"][0]["frames"]
    assert (failure["kind"], frames[0]["function"], dict(frames[0]["locals"])) == (
        "ZeroDivisionError",
        "fail",
        {"number": "0"},
    )
    assert not frames[1]["is_project"] and "flask" in frames[1]["file"]


def test_the_command_explains_exceptions_reloads_and_pages_reload_live(folder):
    folder.save("live.py", APP)
    with serving_command(folder.path, "--debug", "live:app", env=without_werkzeug(folder)) as server:
        failure = json.loads(server.get("/fail", headers=JSON).body)
        assert (failure["kind"], failure["causes"][0]["frames"][0]["function"]) == ("LookupError", "find")
        page = server.get("/fail", headers=HTML)
        assert page.status == 500 and b"/__amboss__/live.js" in page.body
        assert "script-src" in page.header("Content-Security-Policy")
        folder.save("live.py", APP.replace('b"fine"', 'b"saved"'))
        wait_until(lambda: server.get().body == b"saved", "the new code")


def test_the_command_explains_failures_of_flask(folder):
    folder.save(
        "flasky.py",
        """
        from flask import Flask
        app = Flask(__name__)

        @app.get("/fail")
        def fail():
            raise LookupError("no anvil")
        """,
    )
    with serving_command(folder.path, "--debug", "flasky:app") as server:
        response = server.get("/fail", headers=HTML)
        # The page is Werkzeug's, which Flask brings along.
        assert response.status == 500 and b"LookupError: no anvil" in response.body


def test_the_command_explains_code_that_can_not_be_imported(folder):
    folder.save("broken.py", "import json\n\ndef app(:\n")
    with serving_command(folder.path, "--debug", "broken:app") as server:
        response = server.wait_until(lambda: ask_503(server), "the page")
        assert response.header("Retry-After") == "1"
        failure = json.loads(response.body)
        assert failure["message"].startswith("SyntaxError: ")
        frame = failure["causes"][0]["frames"][0]
        assert (frame["file"], frame["line"]) == (str(folder.path / "broken.py"), 3)


def ask_503(server):
    response = server.get(headers=JSON)
    return response if response.status == 503 else None


def test_the_command_refuses_addresses_that_other_machines_can_reach(folder):
    for address in ("0.0.0.0:0", "[::]:0", "example.org:0"):
        code, printed = run(["--debug", "--bind", address, "shop:app"], folder.path, MODULE)
        assert code == 2 and "--debug-anywhere" in printed, printed
    code, printed = run(["--debug-anywhere", "shop:app"], folder.path, MODULE)
    assert code == 2 and "--debug" in printed


def test_the_command_uses_werkzeugs_console_where_it_is_installed(folder):
    pytest.importorskip("werkzeug")
    with serving_command(folder.path, "--debug", "--allowed-host", "dev.test", "shop:app") as server:
        assert server.wait_for_log("Debugger PIN").count("Debugger PIN") == 1
        secret = re.search(rb'SECRET = "(\w+)"', server.get("/fail", headers=HTML).body).group(1).decode()
        pin = f"/?__debugger__=yes&cmd=pinauth&pin=0-0&s={secret}"
        for host, status in (("localhost", 200), ("[::1]", 200), ("dev.test:80", 200), ("evil.test", 421)):
            with server.client() as client:
                response = client.send(f"GET {pin} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).read_response()
            assert response.status == status, host


def test_the_console_is_for_browsers_on_this_machine(folder):
    pytest.importorskip("werkzeug")
    with serving_command(folder.path, "--debug", "shop:app") as server:
        assert b"EVALEX = true" in server.get("/fail", headers=HTML).body
        assert json.loads(server.get("/fail", headers=JSON).body)["kind"] == "LookupError"
        assert server.get("/fail").header("Content-Type").startswith("text/plain")
        for field in ("X-Forwarded-For: 203.0.113.5", "X-Real-IP: 203.0.113.5", "Forwarded: for=203.0.113.5"):
            for path in ("/fail", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/console"):
                response = server.get(path, headers=f"{field}\r\n{HTML}")
                assert b"anvil" not in response.body and b"EVALEX" not in response.body, (field, path)


def test_werkzeugs_page_replaces_a_head_and_cuts_a_response_that_has_begun(script):
    pytest.importorskip("werkzeug")
    program = script(
        APP
        + """
def failing(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/later":
        yield b"begun"
    if environ["PATH_INFO"] == "/twice":
        start_response("200 OK", [])
    find("anvil")

run_simple("127.0.0.1", 0, failing, use_debugger=True)
"""
    )
    for path, reason in (("/", b"no anvil"), ("/twice", b"called a second time")):
        response = program.get(path, headers=HTML)
        assert response.status == 500 and b"EVALEX = true" in response.body and reason in response.body, path
    with program.client() as client:
        client.send(f"GET /later HTTP/1.1\r\nHost: localhost\r\n{HTML}\r\n".encode())
        assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_applications_of_hosts_have_the_console_with_the_same_pin(script):
    pytest.importorskip("werkzeug")
    program = script(APP + "run_simple('127.0.0.1', 0, app, use_debugger=True, hosts={'api.localhost': app})")
    for host in ("localhost", "api.localhost", "[::1]", "10.1.2.3"):
        with program.client() as client:
            response = client.send(f"GET /fail HTTP/1.1\r\nHost: {host}\r\n{HTML}\r\n".encode()).read_response()
        assert b"EVALEX = true" in response.body, host
    assert program.err.count("Debugger PIN") == 1


SLOW = """
import dataclasses, time
from collections import OrderedDict
from amboss import run_simple

class Waits:
    def __repr__(self):
        time.sleep(60)

@dataclasses.dataclass
class Large:
    data: bytes

def app(environ, start_response):
    large, ordered = Large(b"x" * 50_000_000), OrderedDict((n, "y" * 1_000_000) for n in range(100))
    waits = Waits() if environ["PATH_INFO"] == "/waits" else None
    raise LookupError("no anvil")

run_simple("127.0.0.1", 0, app, use_debugger=True, use_evalex=False)
"""


def test_a_value_that_is_large_or_takes_long_to_print_does_not_hold_the_report_up(script):
    program = script(SLOW)
    frame = dict(report(program, "/")["causes"][0]["frames"][0]["locals"])
    assert frame["large"] == "<Large>" and frame["ordered"] == "<collections.OrderedDict>"
    failure = report(program, "/waits")
    assert failure["message"] == "no anvil"
    assert dict(failure["causes"][0]["frames"][0]["locals"])["waits"] == "<Waits>"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="ExceptionGroup exists since Python 3.11")
def test_the_exceptions_of_a_group_are_its_causes(script):
    program = script(
        """
        from amboss import run_simple

        def app(environ, start_response):
            try:
                {}["anvil"]
            except KeyError as error:
                inner = error
            raise ExceptionGroup("two", [inner, ValueError("second")])

        run_simple("127.0.0.1", 0, app, use_debugger=True, use_evalex=False)
        """
    )
    causes = report(program, "/")["causes"]
    assert [cause["kind"] for cause in causes] == ["ExceptionGroup", "KeyError", "ValueError"]
    assert causes[1]["frames"][0]["function"] == "app"


def test_several_processes_have_no_console_but_pages(folder):
    with serving_command(folder.path, "--debug", "--workers", "2", "shop:app") as server:
        assert json.loads(server.get("/fail", headers=JSON).body)["message"] == "no anvil"
        assert "Debugger PIN" not in server.log()


def test_the_pin_is_printed_without_a_reloader(script):
    pytest.importorskip("werkzeug")
    program = script(APP + "run_simple('127.0.0.1', 0, app, use_debugger=True)")
    assert b"SECRET" in program.get("/fail", headers=HTML).body
    assert program.err.count("Debugger PIN") == 1


def without_werkzeug(folder):
    """Returns the environment of an interpreter in which Werkzeug can't be imported."""
    hidden = folder.path.parent / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "werkzeug.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": str(hidden)}
