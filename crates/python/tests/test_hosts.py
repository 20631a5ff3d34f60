"""Several applications on one port, by their hosts: ``hosts`` of ``run_simple``, and ``--vhost`` of the command."""

import pytest

from client import Client
from programs import serving

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{name} " + environ["PATH_INFO"].encode()]
"""


def make_apps(folder):
    for name in ["shop", "api"]:
        (folder / f"{name}.py").write_text(APP.format(name=name))
    (folder / "docs").mkdir()
    (folder / "docs" / "index.html").write_text("the docs")


def get(program, host, path="/x"):
    with Client(("127.0.0.1", program.port)) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return client.read_response().body.decode()


def check(program, main):
    for host, path, body in [
        ("localhost", "/x", main),
        ("evil.example", "/x", main),
        ("api.localhost", "/x", "api /x"),
        ("API.localhost:5000", "/y", "api /y"),
        ("docs.localhost", "/", "the docs"),
        ("other.localhost", "/x", "api /x"),
    ]:
        assert get(program, host, path).startswith(body), host


@pytest.mark.parametrize("more", [[], ["--workers", "2"], ["--preload"], ["--reload"]], ids=" ".join)
def test_the_command_serves_applications_by_their_hosts(tmp_path, more):
    make_apps(tmp_path)
    flags = ["--vhost", "api.localhost=api:app", "--vhost", "docs.localhost=./docs", "--vhost", "*.localhost=api"]
    with serving("shop:app", tmp_path, "command", path=tmp_path, arguments=[*flags, *more]) as program:
        assert f"Running on http://api.localhost:{program.port}" in program.banner
        assert "*.localhost" not in program.banner
        check(program, "shop /x")


def test_the_main_application_may_be_a_folder_beside_python_applications(tmp_path):
    make_apps(tmp_path)
    flags = ["--vhost", "api.localhost=api:app"]
    with serving("./docs", tmp_path, "command", path=tmp_path, arguments=flags) as program:
        assert get(program, "localhost", "/") == "the docs"
        assert get(program, "api.localhost") == "api /x"


def test_an_application_of_a_host_that_cannot_be_imported_is_named(tmp_path):
    make_apps(tmp_path)
    with pytest.raises(AssertionError, match="no_such_module"):
        arguments = ["--vhost", "api.localhost=no_such_module:app"]
        with serving("shop:app", tmp_path, "command", path=tmp_path, arguments=arguments):
            pass


def test_run_simple_serves_applications_by_their_hosts(script, tmp_path):
    make_apps(tmp_path)
    program = script("""
        from amboss import run_simple
        from api import app as api
        from shop import app
        hosts = {"api.localhost": api, "docs.localhost": "docs", "*.localhost": api}
        run_simple("127.0.0.1", 0, app, hosts=hosts)
    """)
    check(program, "shop /x")


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ("{'a b': app}", "not the name of a host"),
        ("{'a.localhost': 'nowhere'}", "nowhere does not exist"),
        ("{'a.localhost': 1}", "neither"),
        ("{'a.localhost': app, 'A.localhost': app}", "two applications"),
    ],
)
def test_bad_hosts_are_refused_before_anything_is_served(script, hosts, message):
    program = script(f"""
        from amboss import run_simple
        def app(environ, start_response): pass
        run_simple("127.0.0.1", 0, app, hosts={hosts})
    """)
    assert program.wait_for_exit() == 1
    assert message in program.err and "Running on" not in program.err
