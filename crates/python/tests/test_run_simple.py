"""Scripts that call ``run_simple``: CTRL+C, signals, processes, the end of the interpreter."""

import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from client import Client
from waiting import TIMEOUT, wait_until

APP = """
import os, sys, threading, time
from amboss import run_simple, make_server

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stuck":
        print("stuck", flush=True)
        time.sleep(1000)
    if path == "/busy":
        print("busy", flush=True)
        while True:
            pass
    if path == "/read":
        print("reading", flush=True)
        while environ["wsgi.input"].readline():
            pass
    if path == "/write":
        write = start_response("200 OK", [])
        print("writing", flush=True)
        while True:
            write(b"x" * 1000)
    if path == "/wait":
        print("waiting", flush=True)
        while not os.path.exists("go-on"):
            time.sleep(0.01)
    if path == "/fail":
        raise ValueError("of the application")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {environ['wsgi.multiprocess']} {environ['wsgi.multithread']}".encode()]

"""


def test_ctrl_c_prints_no_traceback(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app)\nprint('went on')")
    assert program.get().status == 200
    program.interrupt()
    assert program.wait_for_exit() == 0
    assert "went on" in program.out
    assert "Traceback" not in program.err and "KeyboardInterrupt" not in program.err


def test_ctrl_c_lets_the_running_request_finish(script, tmp_path):
    program = script(APP + "run_simple('127.0.0.1', 0, app)")
    client = program.client().request("/wait")
    program.wait_for("waiting")
    program.interrupt()
    program.wait_for("press CTRL+C again to stop at once")
    assert program.is_running()
    (tmp_path / "go-on").touch()
    assert client.read_response().status == 200
    assert program.wait_for_exit() == 0
    assert "Traceback" not in program.err


@pytest.mark.parametrize("path, word", [("/stuck", "stuck"), ("/busy", "busy")])
def test_a_second_ctrl_c_ends_at_once(script, path, word):
    program = script(APP + "run_simple('127.0.0.1', 0, app)")
    client = program.client().request(path)
    program.wait_for(word)
    program.interrupt()
    program.wait_for("press CTRL+C again to stop at once")
    program.interrupt()
    code = program.wait_for_exit(5)
    client.close()
    assert code in (0, 130), (code, program.err)
    assert "Traceback" not in program.err and "panic" not in program.err and "Fatal" not in program.err


@pytest.mark.parametrize("path, word", [("/stuck", "stuck"), ("/busy", "busy")])
@pytest.mark.parametrize("way", ["daemon", "exit"])
def test_the_interpreter_exits_despite_a_stuck_request(script, path, word, way):
    ending = {
        "daemon": """
        server = make_server("127.0.0.1", 0, app)
        print(f" * Running on http://127.0.0.1:{server.port}", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while not os.path.exists("end"):
            time.sleep(0.01)
        sys.exit(7)
        """,
        "exit": """
        import signal
        def end(*_):
            sys.exit(7)
        signal.signal(signal.SIGUSR1, end)
        run_simple("127.0.0.1", 0, app)
        """,
    }[way]
    import textwrap

    program = script(APP + textwrap.dedent(ending))
    client = program.client().request(path)
    idle = program.client()
    assert idle.get().status == 200
    program.wait_for(word)
    if way == "daemon":
        (program_folder(program) / "end").touch()
    else:
        program.process.send_signal(signal.SIGUSR1)
    code = program.wait_for_exit(TIMEOUT)
    client.close()
    assert code == 7, (code, program.err)
    assert "panic" not in program.err and "Fatal" not in program.err and "Segmentation" not in program.err


def program_folder(program):
    return Path(program.process.args[2]).parent


@pytest.mark.parametrize("path, word", [("/read", "reading"), ("/write", "writing"), ("/busy", "busy")])
def test_a_request_that_runs_during_finalization_does_not_crash(script, path, word):
    program = script(
        APP
        + """
class Last:
    # Called during finalization, which it prolongs: no other thread can acquire the GIL any more.
    def __del__(self, sleep=time.sleep, write=os.write):
        write(1, b"ending\\n")
        sleep(0.3)

sys.last = Last()
server = make_server("127.0.0.1", 0, app, body_mode="stream")
print(f" * Running on http://127.0.0.1:{server.port}", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists("end"):
    time.sleep(0.01)
sys.exit(7)
"""
    )
    with program.client() as client, program.client() as other:
        client.request(path, method="POST", headers="Content-Length: 1000000\r\n")
        program.wait_for(word)
        other.request(path, method="POST", headers="Content-Length: 1000000\r\n")
        wait_until(lambda: program.out.count(word) == 2)
        (program_folder(program) / "end").touch()
        while program.is_running():
            try:
                client.send(b"a line\n" if path == "/read" else b"")
                client.socket.setblocking(False)
                client.socket.recv(1 << 20)
            except BlockingIOError:
                pass
            except OSError:
                break
            client.socket.settimeout(TIMEOUT)
        assert program.wait_for_exit() == 7, program.err
    assert "ending" in program.out
    assert "panic" not in program.err and "Fatal" not in program.err


def test_requests_during_finalization_do_not_crash(script):
    program = script(
        APP
        + """
server = make_server("127.0.0.1", 0, app)
print(f" * Running on http://127.0.0.1:{server.port}", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists("end"):
    time.sleep(0.01)
"""
    )
    over = threading.Event()

    def ask():
        while not over.is_set():
            try:
                with program.client() as client:
                    while not over.is_set():
                        client.get()
            except (OSError, EOFError):
                return

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    assert program.get().status == 200
    (program_folder(program) / "end").touch()
    code = program.wait_for_exit()
    over.set()
    for asker in askers:
        asker.join(TIMEOUT)
    assert code == 0, (code, program.err)
    assert "panic" not in program.err and "Fatal" not in program.err


def test_signal_handlers_run_while_the_server_runs(script):
    program = script(
        APP
        + """
import signal
signal.signal(signal.SIGUSR1, lambda *_: print("handled in", threading.current_thread().name, flush=True))
run_simple("127.0.0.1", 0, app)
"""
    )
    assert program.get().status == 200
    for count in (1, 2, 3):
        program.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: program.out.count("handled in MainThread") == count)
    assert program.get().status == 200
    program.interrupt()
    assert program.wait_for_exit() == 0


def test_an_exception_of_a_signal_handler_leaves_run_simple(script):
    program = script(
        APP
        + """
import signal
class Own(Exception):
    pass
def handler(*_):
    raise Own("raised")
signal.signal(signal.SIGUSR1, handler)
try:
    run_simple("127.0.0.1", 0, app)
except Own as error:
    print("caught", error)
"""
    )
    assert program.get().status == 200
    program.process.send_signal(signal.SIGUSR1)
    assert program.wait_for_exit() == 0
    assert "caught raised" in program.out


def test_passthrough_errors_leave_run_simple(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app, passthrough_errors=True)")
    client = program.client().request("/fail")
    client.read_to_end()
    assert program.wait_for_exit() == 1
    assert "Traceback" in program.err and "in app" in program.err
    assert program.err.rstrip().endswith("ValueError: of the application")


def test_with_processes_passthrough_errors_leave_run_simple_as_a_message(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app, processes=2, passthrough_errors=True)")
    assert program.get().status == 200
    client = program.client().request("/fail")
    client.read_to_end()
    assert program.wait_for_exit() == 1
    assert "RuntimeError" in program.err and ", in app" in program.err
    assert program.err.rstrip().endswith("ValueError: of the application")


def test_with_processes_the_application_can_stop_the_server(script):
    stops = "def stops(environ, start_response):\n    environ['werkzeug.server.shutdown']()\n    return app(environ, start_response)\n"
    program = script(APP + stops + "run_simple('127.0.0.1', 0, stops, processes=2)\nprint('went on')")
    assert program.get().body.endswith(b"True False")
    assert program.wait_for_exit() == 0
    assert "went on" in program.out and "Traceback" not in program.err


def test_a_port_in_use_is_exit_code_1_and_a_message(script):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = script(APP + f"run_simple('127.0.0.1', {port}, app)")
        assert program.wait_for_exit() == 1
    assert f"Port {port} is in use by another program." in program.err
    assert "Traceback" not in program.err


def test_contradictory_arguments_raise_werkzeugs_messages(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app, threaded=True, processes=2)")
    assert program.wait_for_exit() == 1
    assert "ValueError: Cannot have a multi-thread and multi-process server." in program.err
    program = script(APP + "run_simple('127.0.0.1', '5000', app)")
    assert program.wait_for_exit() == 1
    assert "TypeError: port must be an integer" in program.err


def test_each_request_runs_in_its_own_process(script):
    program = script(
        APP
        + """
def printing(environ, start_response):
    # No line feed, so the output stays in a buffer that the application does not flush.
    sys.stdout = open(1, "w", buffering=8192, closefd=False)
    print("printed by", os.getpid(), end=" ")
    return app(environ, start_response)

run_simple("127.0.0.1", 0, printing, processes=2)
"""
    )
    pids = set()
    for _ in range(3):
        response = program.get()
        pid, multiprocess, multithread = response.body.decode().split()
        assert (multiprocess, multithread) == ("True", "False")
        assert int(pid) != program.process.pid
        pids.add(pid)
    assert len(pids) == 3
    program.interrupt()
    assert program.wait_for_exit() == 0
    for pid in pids:
        assert program.out.count(f"printed by {pid}") == 1
    assert "Traceback" not in program.err and "Warning" not in program.err


def test_processes_run_in_parallel_up_to_the_limit(script, tmp_path):
    program = script(APP + "run_simple('127.0.0.1', 0, app, processes=2)")
    clients = [program.client().request("/wait") for _ in range(3)]
    wait_until(lambda: program.out.count("waiting") == 2)
    (tmp_path / "go-on").touch()
    assert [client.read_response().status for client in clients] == [200] * 3
    program.interrupt()
    assert program.wait_for_exit() == 0


def test_an_error_in_a_process_is_a_500_and_logged(script):
    program = script(APP + "run_simple('127.0.0.1', 0, app, processes=2)")
    assert program.get("/fail").status == 500
    program.wait_for("ValueError: of the application")
    assert program.get().status == 200
    program.interrupt()
    assert program.wait_for_exit() == 0


def test_an_application_may_fork(script):
    program = script(
        """
import os, subprocess, sys
from amboss import run_simple

def app(environ, start_response):
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    code = os.waitpid(pid, 0)[1] >> 8
    output = subprocess.run([sys.executable, "-c", "print('child')"], stdout=subprocess.PIPE).stdout
    start_response("200 OK", [])
    return [b"%d " % code + output]

run_simple("127.0.0.1", 0, app)
"""
    )
    for _ in range(3):
        assert program.get().body == b"3 child\n"
    program.interrupt()
    assert program.wait_for_exit() == 0


def test_an_application_may_use_multiprocessing(script):
    program = script(
        """
import multiprocessing
from amboss import run_simple

def work(number):
    return number * 2

def app(environ, start_response):
    with multiprocessing.Pool(2) as pool:
        result = pool.map(work, [1, 2, 3])
    start_response("200 OK", [])
    return [repr(result).encode()]

if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app)
"""
    )
    assert program.get().body == b"[2, 4, 6]"
    program.interrupt()
    assert program.wait_for_exit() == 0


def test_the_debugger_trusts_the_host_name_that_was_bound(script):
    pytest.importorskip("werkzeug")
    host = "127.0.0.2"
    try:
        socket.create_server((host, 0)).close()
    except OSError:
        pytest.skip(f"{host} is no address of this machine")
    program = script(APP + f"run_simple({host!r}, 0, app, use_debugger=True)")

    def ask(target, host):
        with Client(("127.0.0.2", program.port)) as client:
            fields = f"Host: {host}\r\nAccept: text/html\r\n"
            return client.send(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode()).read_response()

    page = ask("/fail", host)
    assert page.status == 500
    secret = re.search(rb'SECRET = "(\w+)"', page.body).group(1).decode()
    pin = f"/?__debugger__=yes&cmd=pinauth&pin=0-0&s={secret}"
    assert ask(pin, f"{host}:{program.port}").status == 200
    assert ask(pin, "elsewhere.test").status == 421
