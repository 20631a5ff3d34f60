"""``static_files`` of ``run_simple`` and ``--static`` of the command: files are served without the interpreter."""

import statistics
import time

import pytest

APP = """
import time
from amboss import run_simple

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        print("sleeping", flush=True)
        time.sleep(1000)
    if path == "/compute":
        print("computing", flush=True)
        sum(range(100_000_000))  # One call that keeps the interpreter's lock for a second or more.
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"application " + path.encode()]

"""


def make_site(folder):
    site = folder / "site"
    (site / "css").mkdir(parents=True)
    (site / "css" / "a.css").write_text("body {}")
    (site / ".env").write_text("SECRET=1")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "secret.txt").write_text("secret")
    (site / "link").symlink_to(folder / "secret.txt")
    return site


def test_files_are_served_and_everything_else_is_the_applications(script, tmp_path):
    site = make_site(tmp_path)
    static = {"/static": str(site), "/favicon.svg": str(tmp_path / "icon.svg")}
    program = script(APP + f"run_simple('127.0.0.1', 0, app, static_files={static!r})")
    with program.client() as client:
        css = client.request("/static/css/a.css").read_response()
        assert (css.status, css.body, css.header("Content-Type")) == (200, b"body {}", "text/css; charset=utf-8")
        tag = f"If-None-Match: {css.header('ETag')}\r\n"
        assert client.request("/static/css/a.css", headers=tag).read_response().status == 304
        part = client.request("/static/css/a.css", headers="Range: bytes=0-3\r\n").read_response()
        assert (part.status, part.body) == (206, b"body")
        assert client.request("/favicon.svg").read_response().body == b"<svg/>"
        for path in ["/", "/static/none.css", "/static/.env", "/static/link", "/static/../secret.txt", "/staticx"]:
            assert client.request(path).read_response().body.startswith(b"application "), path


def test_files_of_a_package_are_found(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app, static_files=[('/email', ('email', '.'))])")
    with program.client() as client:
        assert b"def " in client.request("/email/message.py").read_response().body


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ("{'static': '.'}", "slash"),
        ("{'/static': 'nowhere'}", "nowhere does not exist"),
        ("{'/static': ('no_such_package', 'x')}", "no_such_package"),
    ],
)
@pytest.mark.parametrize("reloads", [False, True])
def test_bad_static_files_are_refused_before_anything_is_served(script, static, message, reloads):
    program = script(APP + f"run_simple('127.0.0.1', 0, app, static_files={static}, use_reloader={reloads})")
    assert program.wait_for_exit() == 1
    assert "ValueError" in program.err and message in program.err and "Running on" not in program.err


def fetch_times(program, count=30):
    """Returns how long requests for a file take, one after another over one connection."""
    times = []
    with program.client() as client:
        for _ in range(count):
            start = time.monotonic()
            assert client.request("/static/css/a.css").read_response().body == b"body {}"
            times.append(time.monotonic() - start)
    return times


def test_files_need_no_thread_of_the_application(script, tmp_path):
    site = make_site(tmp_path)
    program = script(APP + f"run_simple('127.0.0.1', 0, app, threads=2, static_files={{'/static': {str(site)!r}}})")
    clients = [program.client().request("/sleep") for _ in range(3)]
    program.wait_for("sleeping\nsleeping")
    assert statistics.median(fetch_times(program)) < 0.02
    for client in clients:
        client.close()


def test_files_need_no_interpreter_lock(script, tmp_path):
    site = make_site(tmp_path)
    program = script(APP + f"run_simple('127.0.0.1', 0, app, static_files={{'/static': {str(site)!r}}})")
    with program.client() as client:
        client.request("/compute")
        program.wait_for("computing")
        times = fetch_times(program)
        assert client.read_response().status == 200
    # The first one may wait until the monitor has handed the loop over.
    assert statistics.median(times) < 0.02
