"""Applications that fork: their child processes hold nothing of the server, unless they are forked to serve."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from commands import children as running_below
from commands import is_alive
from programs import ticks
from waiting import TIMEOUT, wait_until

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
                # In the meantime another thread runs the event loop.
                time.sleep(0.3)
            # The child returns as if it were the server.
            body = "child" if os.fork() == 0 else "parent"
        else:
            body = str({"/fork": fork, "/process": process, "/": os.getpid}[path]())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body.encode()]
"""


def state(stat):
    """Returns the state of a process or thread."""
    return stat.read_text().rpartition(") ")[2][0]


@pytest.fixture
def children():
    """Processes to end after the test."""
    pids = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("options", ["", "threaded=False", "processes=4"])
@pytest.mark.parametrize(
    "path, ending, code",
    # Python waits for children of multiprocessing before it exits.
    [("/fork", signal.SIGTERM, 0), ("/process", signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_forked_child_holds_no_sockets_of_the_server(script, children, options, path, ending, code):
    program = script(APP + f"\n    run_simple('127.0.0.1', 0, app, {options})\n")
    idle = program.client()
    assert idle.get().status == 200
    # The connection is closed for its client although a copy of the server's process is still running.
    with program.client() as client:
        children.append(int(client.get(path, headers="Connection: close\r\n").body))
        assert client.is_closed()
    assert is_alive(children[0])
    # The server sees the end of a connection once, and does not spin on it.
    idle.close()
    assert program.get().status == 200
    before = ticks(program.process.pid)
    time.sleep(0.5)
    assert ticks(program.process.pid) - before < 20
    # The port is closed when the server ends.
    port = program.port
    program.process.send_signal(ending)
    assert program.process.wait(TIMEOUT) == code
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert is_alive(children[0])


def test_a_request_process_does_not_wait_for_its_children(script, children):
    program = script(APP + "\n    run_simple('127.0.0.1', 0, app, processes=2)\n")
    for _ in range(4):
        children.append(int(program.get("/fork").body))
    # If the request processes waited for their children, the maximum number of processes would be reached by now.
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


def test_a_signal_to_the_process_group_does_not_end_a_request_process(script, tmp_path):
    program = script(WAITS)
    with program.client() as client:
        client.request()
        wait_until(lambda: (tmp_path / "pid").exists() or None)
        pid = int((tmp_path / "pid").read_text())
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        program.process.terminate()
        (tmp_path / "go-on").touch()
        response = client.read_response()
    # A process that the application has forked dies of TERM as usual.
    assert (response.status, response.body) == (200, str(int(signal.SIGTERM)).encode())
    assert program.wait_for_exit() == 0


@pytest.mark.parametrize("path", ["/both", "/late"])
def test_a_forked_child_that_returns_does_not_become_a_second_server(script, path):
    program = script(APP + "\n    run_simple('127.0.0.1', 0, app)\n")
    with program.client() as client:
        assert client.get(path).body == b"parent"
        assert [client.get().body for _ in range(3)] == [str(program.process.pid).encode()] * 3
    # Immediately, rather than after the ten seconds for which idle threads wait for work.
    wait_until(lambda: not running_below(program.process.pid), timeout=8)


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
    wait_until(lambda: "\n" in program.out)
    port, *pids = map(int, program.out.split())
    children.extend(pids)
    answering = set()

    def ask():
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            pid = int(connection.makefile("rb").read().rpartition(b"\r\n")[2])
        assert pid in children
        answering.add(pid)
        # Stop this process, so that the others accept the next connections.
        if len(answering) < len(children):
            os.kill(pid, signal.SIGSTOP)
            # A process that is not stopped yet could still be woken for the next connection and accept it.
            wait_until(lambda: all(state(stat) == "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")))
        return answering == set(children)

    wait_until(ask)


def test_a_server_does_not_serve_in_a_process_forked_after_it_was_made(script):
    program = script(
        APP
        + """
    server = make_server("127.0.0.1", 0, app)
    if os.fork() == 0:
        server.serve_forever()
    os.wait()
"""
    )
    assert program.wait_for_exit() == 0
    assert "make a server in each process that is to serve" in program.err
