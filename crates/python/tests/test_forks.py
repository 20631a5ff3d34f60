"""Applications that fork: their processes hold nothing of the server, unless they are forked to serve."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from client import PATIENCE
from commands import children as running_below
from commands import is_alive
from conftest import eventually
from programs import ticks

APP = """
    import multiprocessing, os, signal, sys, time
    from amboss import make_server, run_simple

    def fork():
        pid = os.fork()
        if pid == 0:
            time.sleep(120)
            os._exit(0)
        return pid

    def process():
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(120,))
        child.start()
        return child.pid

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path in ("/both", "/late"):
            if path == "/late":
                # Meanwhile another thread leads.
                time.sleep(0.3)
            # The child goes on as if it were the server.
            body = "child" if os.fork() == 0 else "parent"
        else:
            body = str({"/fork": fork, "/process": process, "/": os.getpid}[path]())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body.encode()]
"""


def state(stat):
    """Of a process or thread."""
    return stat.read_text().rpartition(") ")[2][0]


@pytest.fixture
def children():
    """Processes to be ended with the test."""
    pids = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("options", ["", "threaded=False", "processes=4"])
@pytest.mark.parametrize(
    "path, ending, code",
    # Python waits for the second kind before it ends.
    [("/fork", signal.SIGTERM, 0), ("/process", signal.SIGKILL, -signal.SIGKILL)],
)
def test_what_the_application_forks_holds_nothing_of_the_server(script, children, options, path, ending, code):
    program = script(APP + f"\n    run_simple('127.0.0.1', 0, app, {options})\n")
    idle = program.client()
    assert idle.get().status == 200
    # A connection ends for its client though a copy of the server lives on.
    with program.client() as client:
        children.append(int(client.get(path, headers="Connection: close\r\n").body))
        assert client.is_over()
    assert is_alive(children[0])
    # The end of a connection is seen by the server, and is no news for ever.
    idle.close()
    assert program.get().status == 200
    before = ticks(program.process.pid)
    time.sleep(0.5)
    assert ticks(program.process.pid) - before < 20
    # With the server ends its port.
    port = program.port
    program.process.send_signal(ending)
    assert program.process.wait(PATIENCE) == code
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert is_alive(children[0])


def test_the_process_of_a_request_ends_with_its_answer_whatever_that_has_forked(script, children):
    program = script(APP + "\n    run_simple('127.0.0.1', 0, app, processes=2)\n")
    for _ in range(4):
        children.append(int(program.get("/fork").body))
    # Those that wait beside them would be as many as may run.
    assert program.get("/").status == 200
    assert all(is_alive(pid) for pid in children)


WAITS = """
    import os, signal, time
    from amboss import run_simple

    def app(environ, start_response):
        child = os.fork()
        if child == 0:
            time.sleep(120)
            os._exit(0)
        with open("pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        while not os.path.exists("go-on"):
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)
        status = os.waitpid(child, 0)[1]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.WTERMSIG(status)).encode()]

    run_simple("127.0.0.1", 0, app, processes=2)
"""


def test_signals_to_all_processes_leave_a_request_to_its_server(script, tmp_path):
    program = script(WAITS)
    with program.client() as client:
        client.request()
        eventually(lambda: (tmp_path / "pid").exists() or None)
        pid = int((tmp_path / "pid").read_text())
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        program.process.terminate()
        (tmp_path / "go-on").touch()
        answer = client.answer()
    # What it has forked dies of TERM as ever.
    assert (answer.status, answer.body) == (200, str(int(signal.SIGTERM)).encode())
    assert program.ended() == 0


@pytest.mark.parametrize("path", ["/both", "/late"])
def test_a_child_that_returns_from_the_application_does_not_go_on_as_a_second_server(script, path):
    program = script(APP + "\n    run_simple('127.0.0.1', 0, app)\n")
    with program.client() as client:
        assert client.get(path).body == b"parent"
        assert [client.get().body for _ in range(3)] == [str(program.process.pid).encode()] * 3
    # At once, and not after the ten seconds that threads stand by for work.
    eventually(lambda: not running_below(program.process.pid), 8)


def test_children_that_are_forked_to_serve_share_the_socket(script, children):
    program = script(
        APP
        + """
    import socket
    listening = socket.create_server(("127.0.0.1", 0))
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            make_server("127.0.0.1", 0, app, fd=listening.fileno()).serve_forever()
            os._exit(0)
        pids.append(pid)
    print(listening.getsockname()[1], *pids, flush=True)
    listening.close()
    time.sleep(120)
"""
    )
    eventually(lambda: "\n" in program.out)
    port, *pids = map(int, program.out.split())
    children.extend(pids)
    answering = set()

    def ask():
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            pid = int(connection.makefile("rb").read().rpartition(b"\r\n")[2])
        assert pid in children
        answering.add(pid)
        # The others are to have their turn.
        if len(answering) < len(children):
            os.kill(pid, signal.SIGSTOP)
            # One that has yet to stop would be woken for the next connection, and keep it.
            eventually(lambda: all(state(stat) == "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")))
        return answering == set(children)

    eventually(ask)


def test_a_server_is_not_served_by_a_process_forked_behind_its_back(script):
    program = script(
        APP
        + """
    server = make_server("127.0.0.1", 0, app)
    if os.fork() == 0:
        server.serve_forever()
    os.wait()
"""
    )
    assert program.ended() == 0
    assert "make a server in each process that is to serve" in program.err
