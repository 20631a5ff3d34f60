"""``MOVING.md``: every line of amboss on that page is run, with another address."""

import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from client import Client
from conftest import Script
from waiting import TIMEOUT, wait_until

PAGE = (Path(__file__).parent.parent / "MOVING.md").read_text()

#: The modules that the page's commands name.
MODULES = {
    "your_project.py": """
def app(environ, start_response):
    host = environ.get("HTTP_HOST", "")
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Host", host)])
    return [b"your project"]
""",
    "myproject.py": "from your_project import app\n\ndef create_app():\n    return app\n\nmake_app = create_app\n",
    "settings.cfg": "",
}


def commands():
    """Returns the commands of amboss in the tables, and those in the text."""
    found = re.findall(r"`(amboss [^`]*)`", PAGE)
    return sorted({command for command in found if "…" not in command and "..." not in command})


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


SCRIPTS = [block for block in blocks("python") if "amboss" in block and "token" not in block]


@pytest.fixture
def project(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project, arguments):
    """Starts a command in the project; returns it as the fixture ``script`` does."""
    started = Script.__new__(Script)
    Script.watch(started, arguments, {"PYTHONPATH": str(project)}, project)
    return started


def end(program):
    if program.is_running():
        program.process.send_signal(signal.SIGTERM)
        program.process.wait(TIMEOUT)
    program.process.stdout.close()
    program.process.stderr.close()


def is_tls(program):
    return "Running on https://" in program.out + program.err


def answer(program, target="/", headers=""):
    context = None
    if is_tls(program):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Client(("127.0.0.1", program.port), context) as client:
        return client.get(target, headers=headers)


def of_amboss(command):
    words = shlex.split(command)
    assert words[0] == "amboss"
    words[1:] = [re.sub(r"^(0\.0\.0\.0|127\.0\.0\.1|localhost):\d+$", r"127.0.0.1:0", word) for word in words[1:]]
    return [sys.executable, "-m", "amboss", *words[1:]]


@pytest.mark.parametrize("command", commands())
def test_a_command_serves(project, command):
    for name in ("gevent", "eventlet"):
        if name in command:
            pytest.importorskip(name)
    (project / "uwsgi.ini").write_text("[uwsgi]\nmodule = your_project:app\n")
    program = run(project, of_amboss(command))
    try:
        if command.startswith("amboss migrate"):
            assert program.wait_for_exit() == 0 and "# Made from: " in program.out
            return
        if "--help" in command:
            assert program.wait_for_exit() == 0 and "--worker-class" in program.out
            return
        program.wait_for("Press CTRL+C to quit")
        assert answer(program).body == b"your project"
    finally:
        end(program)


@pytest.mark.parametrize("text", SCRIPTS, ids=range(len(SCRIPTS)))
def test_a_script_serves(project, text):
    for name in ("gevent", "eventlet"):
        if name in text:
            pytest.importorskip(name)
    if "ssl.cert" in text:
        make_certificate(project)
    script = project / "start.py"
    script.write_text(re.sub(r"\b(5000|8080|4000)\b", "0", text))
    program = run(project, [sys.executable, "-u", str(script)])
    try:
        program.wait_for("Press CTRL+C to quit")
        if "unix://" in text:
            with Client(str(project / "example.sock")) as client:
                assert client.get().body == b"your project"
        else:
            assert answer(program).body == b"your project"
    finally:
        end(program)


def make_certificate(project):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for line in blocks("console")[0].splitlines():
        if line.startswith("$ openssl"):
            subprocess.run(line[2:], shell=True, cwd=project, check=True, capture_output=True)


def test_openssl_s_certificate_serves(project):
    make_certificate(project)
    (command,) = [line[2:] for line in blocks("console")[0].splitlines() if line.startswith("$ amboss")]
    program = run(project, of_amboss(command))
    try:
        program.wait_for("Press CTRL+C to quit")
        assert is_tls(program) and answer(program).body == b"your project"
    finally:
        end(program)


@pytest.mark.parametrize("text", [block for block in blocks("python") if "token" in block], ids=["process", "one"])
def test_a_token_is_received(project, text):
    pytest.importorskip("werkzeug")
    script = project / "token.py"
    script = project / "wait_for_token.py"
    script.write_text(re.sub(r"\b5000\b", "0", text))
    program = run(project, [sys.executable, "-u", str(script)])
    try:
        program.wait_for("waiting")
        found = wait_until(lambda: re.search(r"Running on http://127\.0\.0\.1:(\d+)|on port (\d+)", program.out + program.err))
        with Client(("127.0.0.1", int(found[1] or found[2]))) as client:
            assert client.get("/?token=secret").status == 204
        assert program.wait_for_exit() == 0
        assert program.out.split()[-1] == "secret"
    finally:
        end(program)


def test_nginx_s_block_works(project):
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    (command,) = re.findall(r"in front of `(amboss [^`]*)`", PAGE)
    program = run(project, of_amboss(command))
    try:
        program.wait_for("Press CTRL+C to quit")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        block = blocks("nginx")[0].replace("listen 80", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{program.port}")
        paths = "".join(
            f"{name}_temp_path {project};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = project / "nginx.conf"
        config.write_text(
            f"daemon off; pid {project}/pid; error_log {project}/error; events {{}}\n"
            f"http {{ access_log off; {paths} {block} }}\n"
        )
        proxy = subprocess.Popen([nginx, "-p", str(project), "-c", str(config)], stderr=subprocess.DEVNULL)
        try:

            def ask():
                try:
                    with Client(("127.0.0.1", port)) as client:
                        return client.get(headers="X-Probe: a\r\n")
                except OSError:
                    return None

            assert wait_until(ask).body == b"your project"
        finally:
            proxy.terminate()
            proxy.wait(TIMEOUT)
    finally:
        end(program)


def test_custom_proxy_fix_works_as_it_stands(serve):
    class CustomProxyFix:
        def __init__(self, app):
            self.app = app

        def __call__(self, environ, start_response):
            host = environ.get("HTTP_X_FHOST", "")
            if host:
                environ["HTTP_HOST"] = host
            return self.app(environ, start_response)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["HTTP_HOST"].encode()]

    assert serve(CustomProxyFix(app)).get(headers="X-FHost: other.test\r\n").body == b"other.test"


def test_proxy_fix_changes_nothing_more(serve):
    proxy_fix = pytest.importorskip("werkzeug.middleware.proxy_fix")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['HTTP_HOST']} {environ['wsgi.url_scheme']}".encode()]

    fixed = proxy_fix.ProxyFix(app, x_proto=1, x_host=1)
    headers = "X-Forwarded-Host: public.test\r\nX-Forwarded-Proto: https\r\n"
    with_fix = serve(fixed).get(headers=headers).body
    assert with_fix == b"public.test https"
    assert serve(app, forwarded_hops={"for": 1, "proto": 1, "host": 1}).get(headers=headers).body == with_fix


def test_the_page_names_what_the_documents_have():
    for part in (
        "gunicorn -w 4 -b 0.0.0.0:5000 your_project:app",
        '"myproject:create_app()"',
        "gunicorn -k gevent",
        "gunicorn -k eventlet",
        "uwsgi --master -p 4 --http",
        "uwsgi --master --gevent 100",
        'WSGIServer(("", 5000), app)',
        'wsgi.server(eventlet.listen(("", 5000)), app)',
        "twistd web --wsgi myproject.app",
        "twistd -n web --port tcp:8080",
        "ProxyFix",
        "CustomProxyFix",
        "make_ssl_devcert",
        "openssl genrsa",
        "SSLContext",
        "PyPy",
    ):
        assert part in PAGE, part
