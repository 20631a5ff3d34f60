"""Scripts that call ``run_simple``, and the command: how they end, and what they print if they can't start."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading

import pytest

from client import Client
from commands import BINARY, alive
from programs import APPS, WAYS, serving
from waiting import TIMEOUT, wait_until


def ask(program, target, answers):
    with program.connect() as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        answers.append(response.read())


def is_listening(program):
    with contextlib.suppress(ConnectionError, FileNotFoundError):
        program.connect().close()
        return True
    return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_lets_running_requests_finish_and_ends_all_processes(tmp_path, way, name):
    path = tmp_path / "amboss.sock"
    with serving("plain:application", tmp_path, way, host=f"unix://{path}") as program:
        answers = []
        client = threading.Thread(target=ask, args=(program, f"/wait?{tmp_path}", answers))
        client.start()
        wait_until((tmp_path / "waiting").exists, "the request to run")
        program.process.send_signal(getattr(signal, name))
        wait_until(lambda: not is_listening(program), "the port to be closed")
        assert program.process.poll() is None, program.log()
        (tmp_path / "go-on").touch()
        client.join(TIMEOUT)
        assert [json.loads(response) for response in answers] == [{"waited": True}], program.log()
        assert program.process.wait(TIMEOUT) == 0, program.log()
        assert not path.exists()
        assert "Traceback" not in program.log()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_another_thread_is_handled(tmp_path, way, name):
    # The system delivers a signal to any thread of a process.
    with serving("plain:application", tmp_path, way) as program:
        answers = []
        ask(program, f"/raise?{name}", answers)
        assert answers == [b"{}"]
        assert program.process.wait(TIMEOUT) == 0, program.log()


@pytest.mark.parametrize("way", WAYS)
def test_hup_without_a_supervisor_only_logs_that_the_code_stays(tmp_path, way):
    with serving("plain:application", tmp_path, way) as program:
        for _ in range(2):
            program.process.send_signal(signal.SIGHUP)
            log = program.wait_for_log("the code stays as it is")
            assert "--workers 2 or more" in log
            answers = []
            ask(program, "/", answers)
            assert len(answers) == 1, program.log()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0, program.log()


@pytest.mark.parametrize("way", WAYS)
def test_usr1_does_not_end_the_server(tmp_path, way):
    with serving("plain:application", tmp_path, way) as program:
        program.process.send_signal(signal.SIGUSR1)
        answers = []
        ask(program, "/", answers)
        assert len(answers) == 1, program.log()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0, program.log()


IN_A_TERMINAL = {
    "script": [
        sys.executable,
        "-c",
        "from amboss import run_simple\nrun_simple('127.0.0.1', 0, lambda environ, start: start('200 OK', []) and [])",
    ],
    "command": [sys.executable, "-m", "amboss", "-p", "0"],
    "workers": [sys.executable, "-m", "amboss", "-p", "0", "-w", "2", "plain:application"],
    "application": [sys.executable, "-m", "amboss", "-p", "0", "plain:application"],
    "binary": [BINARY, "-p", "0"],
}


@pytest.mark.parametrize("way", IN_A_TERMINAL)
def test_closing_the_terminal_ends_the_server(way):
    if None in IN_A_TERMINAL[way]:
        pytest.skip("the command as a program was not built: AMBOSS_TEST_COMMAND names none")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        IN_A_TERMINAL[way],
        cwd=APPS,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        output = b""
        while b"Press CTRL+C to quit" not in output:
            output += os.read(ours, 4096)
        # A server that responds has installed its signal handlers.
        port = int(re.search(rb"127\.0\.0\.1:(\d+)", output).group(1))
        with Client(("127.0.0.1", port)) as client:
            assert client.get("/").status == 200
    finally:
        os.close(ours)
        try:
            assert process.wait(TIMEOUT) == 0
            wait_until(lambda: all(its != process.pid for _, its in alive().values()), "the end of all processes")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(text, *, code, cwd=APPS):
    """Runs a script to its end, and returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stderr.decode()


STOPS_ITSELF = """
import os, signal, socket, threading, time
from amboss import run_simple

path = {path!r}
{before}

def app(environ, start_response):
    start_response("200 OK", [])
    environ["werkzeug.server.shutdown"]()
    return []

def ask():
    with socket.socket(socket.AF_UNIX) as connection:
        while connection.connect_ex(path) != 0:
            time.sleep(0.01)
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        connection.recv(100)

threading.Thread(target=ask).start()
run_simple("unix://" + path, 0, app)
os.kill(os.getpid(), signal.SIGTERM)
{after}
"""


def test_after_the_server_term_has_its_default_effect(tmp_path):
    run(STOPS_ITSELF.format(before="", after="", path=str(tmp_path / "sock")), code=-signal.SIGTERM)


def test_a_scripts_own_term_handler_is_kept(tmp_path):
    before = "called = []\nsignal.signal(signal.SIGTERM, lambda *_: called.append(1))"
    after = "assert called == [1]"
    run(STOPS_ITSELF.format(before=before, after=after, path=str(tmp_path / "sock")), code=0)


SERVE = "from amboss import run_simple\nfrom plain import application\nrun_simple({})"


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("'127.0.0.1', 0, None", "TypeError: a WSGI application is called with environ and start_response"),
        ("'127.0.0.1', '80', application", "TypeError: port must be an integer"),
        ("'127.0.0.1', 65536, application", "ValueError: port must be from 0 to 65535, not 65536"),
        ("'127.0.0.1', 0, application, threads=0", "ValueError: threads must be 1 or more, not 0"),
        ("'127.0.0.1', 0, application, ssl_context='own'", "ValueError: ssl_context must be 'adhoc' or"),
        ("'127.0.0.1', 0, application, ssl_context=('no.crt', 'no.key')", "can't read no.crt: No such file"),
        ("'unix:///nowhere/a.sock', 0, application", "can't listen on unix:///nowhere/a.sock: No such file"),
    ],
)
def test_invalid_arguments_are_explained_in_the_last_line(arguments, output):
    last = run(SERVE.format(arguments), code=1).strip().splitlines()[-1]
    assert last.startswith(output)


def test_a_port_in_use_is_explained_without_a_traceback():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        output = run(SERVE.format(f"'127.0.0.1', {port}, application"), code=1)
    assert f"Port {port} is in use by another program." in output
    assert "Traceback" not in output
