"""Requests in greenlets of gevent and eventlet, with the real libraries: ``-k``, ``worker_class`` and patched programs."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from client import Client
from commands import is_alive
from programs import APPS, serving, ticks
from waiting import TIMEOUT, wait_until

LIBRARIES = [name for name in ("gevent", "eventlet") if pytest.importorskip(name)]
TARGET = "greenlets_app:app"
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


@contextlib.contextmanager
def served(tmp_path, library, *arguments, target=TARGET, **more):
    """Serves the application with ``-k``."""
    with serving(target, tmp_path, "command", arguments=["-k", library, *arguments], **more) as program:
        yield program


def client(program, tls=None):
    return Client(program.path or (program.host, program.port), tls)


def get(program, target="/", **more):
    with client(program) as one:
        return one.get(target, **more)


def together(program, target, count):
    """Sends a request on each of ``count`` connections, and returns the responses and the time until the last one."""
    clients = [client(program) for _ in range(count)]
    began = time.monotonic()
    for one in clients:
        one.request(target)
    responses = [one.read_response() for one in clients]
    for one in clients:
        one.close()
    return responses, time.monotonic() - began


def test_requests_wait_without_each_other(tmp_path, library):
    with served(tmp_path, library) as program:
        assert f"Requests run in greenlets of {library}" in program.banner
        responses, seconds = together(program, "/sleep?0.5", 200)
        assert {(one.status, one.body) for one in responses} == {(200, b"slept")}
        # One after the other, they would take 100 seconds.
        assert seconds < 15
        assert get(program, "/info").body.split()[1:] == [b"True", b"True"]


@pytest.mark.parametrize("way", ["script", "command"])
def test_a_patched_program_is_served_in_greenlets_by_itself(tmp_path, library, way):
    with serving(TARGET, tmp_path, way, env={"PATCH": library}) as program:
        assert f"Requests run in greenlets of {library}" in program.banner
        responses, seconds = together(program, "/sleep?0.5", 100)
        assert {one.body for one in responses} == {b"slept"} and seconds < 15


def test_a_flask_application_waits(tmp_path, library):
    with served(tmp_path, library, target="greenlets_app:flask_app()") as program:
        clients = [client(program) for _ in range(60)]
        for number, one in enumerate(clients):
            one.request(f"/sleep?seconds=0.3&name={number}")
        # Each request has its own context.
        assert [one.read_response().body for one in clients] == [str(number).encode() for number in range(60)]


def test_a_lock_is_held_over_a_wait(tmp_path, library):
    with served(tmp_path, library) as program:
        for _ in range(2):
            responses, _ = together(program, "/lock", 30)
            assert {one.body for one in responses} == {b"locked"}


def test_a_thread_begun_at_import_answers_through_a_queue(tmp_path, library):
    with served(tmp_path, library) as program:
        responses, _ = together(program, "/queue", 20)
        assert {one.body for one in responses} == {b"worker"}


def test_requests_to_another_server_wait(tmp_path, library):
    with served(tmp_path / "other", library) as other, served(tmp_path / "own", library) as program:
        responses, seconds = together(program, f"/fetch?{other.host}:{other.port}", 40)
        assert {one.body for one in responses} == {b"slept"} and seconds < 7


def test_a_generator_relays_a_socket_to_slow_clients(tmp_path, library):
    with served(tmp_path, library) as program, socket.create_server(("127.0.0.1", 0)) as upstream:

        def feed():
            # One line for each client at a time.
            connections = [upstream.accept()[0] for _ in range(12)]
            for number in range(20):
                for connection in connections:
                    connection.sendall(b"%d\n" % number)
                time.sleep(0.01)
            for connection in connections:
                connection.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        clients = [client(program).request(f"/relay?127.0.0.1:{upstream.getsockname()[1]}") for _ in range(12)]
        expected = b"".join(b"%d\n" % number for number in range(20))
        assert [one.read_response().body for one in clients] == [expected] * 12
        feeder.join(TIMEOUT)


@pytest.mark.parametrize("mode", ["collect", "stream"])
def test_a_slow_upload_and_a_slow_download_delay_nobody(tmp_path, library, mode):
    with served(tmp_path, library, "--body-mode", mode) as program:
        upload = client(program).send(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        download = client(program).request("/large?400")
        assert download.read_head().status == 200
        for _ in range(20):
            upload.send(b"x" * 10_000)
            began = time.monotonic()
            assert get(program).body == b"hello"
            assert time.monotonic() - began < 5
        assert upload.read_response().body == b"200000"
        while download.read_chunk():
            pass


def test_a_body_that_ends_early_raises(tmp_path, library):
    with served(tmp_path, library, "--body-mode", "stream") as program:
        with client(program) as one:
            one.send(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            one.socket.shutdown(socket.SHUT_WR)
            assert one.read_response().status == 400
        program.wait_for_log("the client closed the connection before the request body was complete")
        assert get(program).body == b"hello"


def test_a_client_that_has_gone_closes_the_body_once(tmp_path, library):
    with served(tmp_path, library) as program:
        with client(program) as one:
            assert one.request("/closing").read_head().status == 200
        wait_until(lambda: get(program, "/events").body == b"closed", "close()")
        assert "Traceback" not in program.log()


def test_idle_connections_take_nothing(tmp_path, library):
    with served(tmp_path, library) as program:
        idle = []
        for _ in range(2000):
            one = client(program)
            idle.append(one)
        assert all(one.get().body == b"hello" for one in idle[::100])
        before = ticks(program.pid)
        time.sleep(1)
        assert ticks(program.pid) - before <= 10, "an idle server uses the processor"
        assert idle[1].get().body == b"hello"
        for one in idle:
            one.close()


def test_worker_connections_bounds_greenlets(tmp_path, library):
    with served(tmp_path, library, "--worker-connections", "2") as program:
        responses, seconds = together(program, "/sleep?0.3", 6)
        assert {one.body for one in responses} == {b"slept"}
        assert seconds >= 0.9


def test_pipelined_requests_are_answered_in_order(tmp_path, library):
    with served(tmp_path, library) as program, client(program) as one:
        one.request("/sleep?0.2").request("/info").request("/length", "POST", body=b"12345").request("/")
        bodies = [one.read_response().body for _ in range(4)]
        assert (bodies[0], bodies[2:]) == (b"slept", [b"5", b"hello"])


def test_an_exception_is_a_500_with_its_traceback_in_the_log(tmp_path, library):
    with served(tmp_path, library) as program:
        assert get(program, "/boom").status == 500
        log = program.wait_for_log("ValueError: boom")
        assert 'error on "GET /boom HTTP/1.1": Traceback' in log and "_greenlets.py" not in log


def test_websockets_are_echoed(tmp_path, library):
    websocket = pytest.importorskip("websocket")
    with served(tmp_path, library, target="greenlets_app:flask_app()") as program:
        sockets = [websocket.create_connection(f"ws://{program.host}:{program.port}/echo") for _ in range(5)]
        for number, one in enumerate(sockets):
            one.send(f"hello {number}")
        for number, one in enumerate(sockets):
            assert one.recv() == f"hello {number}"
        for one in sockets:
            one.close()


def test_tls_and_unix_sockets(tmp_path, library):
    with served(tmp_path / "tls", library, "--adhoc") as program:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with client(program, context) as one:
            assert one.get().body == b"hello"
            assert one.get("/length", "POST", body=b"x" * 100_000).body == b"100000"
    with served(tmp_path / "unix", library, host=f"unix://{tmp_path}/socket") as program:
        assert get(program).body == b"hello"


def test_live_reload_adds_its_script(tmp_path, library):
    with served(tmp_path, library, "--live") as program:
        response = get(program, "/page")
        assert b"<p>page</p>" in response.body and b"/__amboss__/live.js" in response.body
        assert response.header("Content-Length") == str(len(response.body))
        assert get(program, "/__amboss__/live").status == 200


def test_the_debugger_explains_a_failure(tmp_path):
    pytest.importorskip("werkzeug")
    with served(tmp_path, "gevent", "--debug") as program:
        response = get(program, "/boom", headers="Accept: application/json\r\n")
        assert response.status == 500 and b"boom" in response.body and b"greenlets_app.py" in response.body


def test_a_stop_lets_running_requests_finish(tmp_path, library):
    with served(tmp_path, library) as program:
        one = client(program).request("/sleep?1")
        idle = client(program)
        assert idle.get().body == b"hello"
        time.sleep(0.2)
        program.process.send_signal(signal.SIGTERM)
        assert one.read_response().body == b"slept"
        assert idle.is_closed()
        assert program.process.wait(TIMEOUT) == 0


def test_workers_share_the_connections_and_hup_replaces_them(tmp_path, library):
    with served(tmp_path, library, "-w", "2") as program:
        pid = int(get(program, "/info").body.split()[0])
        running = client(program).request("/sleep?1")
        time.sleep(0.2)
        program.process.send_signal(signal.SIGHUP)
        assert running.read_response().body == b"slept"
        wait_until(lambda: not is_alive(pid), "the end of the old worker")
        assert get(program).body == b"hello"


def test_a_greenlet_that_waits_is_not_overdue_and_one_that_blocks_is(tmp_path, library):
    with served(tmp_path, library, "--timeout", "1") as program:
        first = get(program, "/info").body.split()[0]
        assert get(program, "/sleep?2.5").body == b"slept"
        assert get(program, "/info").body.split()[0] == first
        blocking = client(program).request("/spin?60")
        program.wait_for_log("a greenlet has not given way to others for 1 seconds")
        assert "in app" in program.wait_for_log("stack of the request")
        wait_until(lambda: get(program, "/info").body.split()[0] != first, "the next worker")
        blocking.close()


def test_max_requests_replaces_the_worker_without_losing_a_request(tmp_path, library):
    with served(tmp_path, library, "--max-requests", "20") as program:
        pids = set()

        def three_workers():
            response = get(program, "/info")
            assert response.status == 200
            pids.add(response.body.split()[0])
            return len(pids) >= 3

        wait_until(three_workers, "two replacements")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--threads", "4"], "--worker-connections"),
        (["--single"], "--worker-connections 1"),
        (["--processes", "4"], "--workers"),
        (["--preload"], "leave it out"),
        (["--cgi", f"/cgi={APPS}"], "another amboss"),
    ],
)
def test_flags_that_exclude_greenlets_are_refused(flags, reason):
    command = [sys.executable, "-m", "amboss", "-p", "0", *flags]
    given = subprocess.run([*command, "-k", "gevent", TARGET], cwd=APPS, capture_output=True, text=True, timeout=TIMEOUT)
    assert (given.returncode, reason in given.stderr) == (2, True), given.stderr
    if flags[0] in ("--threads", "--single", "--cgi"):
        environment = {**os.environ, "PATCH": "gevent", "PYTHONDONTWRITEBYTECODE": "1"}
        patched = subprocess.run(
            [*command, TARGET], cwd=APPS, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert (patched.returncode, reason in patched.stderr) == (2, True), patched.stderr


def test_threads_are_refused_for_a_patched_program():
    environment = {**os.environ, "PATCH": "gevent", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "amboss", "-p", "0", "-k", "threads", TARGET]
    done = subprocess.run(command, cwd=APPS, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2 and "has replaced Python's threads" in done.stderr, done.stderr


def test_make_server_in_greenlets(script):
    program = script(
        """
        import gevent
        import urllib.request
        from gevent import monkey

        monkey.patch_all()
        import amboss

        def app(environ, start_response):
            gevent.sleep(0.1)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"hello"]

        server = amboss.make_server("127.0.0.1", 0, app, quiet=True)
        assert server.handle_request(timeout=0.1) is False

        def ask():
            return urllib.request.urlopen(f"http://127.0.0.1:{server.port}/").read()

        for _ in range(2):
            asking = gevent.spawn(ask)
            assert server.handle_request(timeout=20) is True
            assert asking.get(timeout=20) == b"hello"

        def use():
            asking = [gevent.spawn(ask) for _ in range(20)]
            gevent.joinall(asking, timeout=20)
            print({one.value for one in asking})
            server.shutdown()

        gevent.spawn(use)
        server.serve_forever()
        print("stopped")
        """
    )
    assert program.wait_for_exit() == 0, program.err
    assert program.out.split("\n")[:2] == ["{b'hello'}", "stopped"]


def test_worker_connections_without_greenlets_are_refused():
    command = [sys.executable, "-m", "amboss", "-p", "0", "--worker-connections", "5", TARGET]
    done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2 and "--worker-class gevent" in done.stderr, done.stderr


FORKING = """
import gevent
from gevent import monkey

monkey.patch_all()
import os
import time

def app(environ, start_response):
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        os._exit(7)
    status = os.waitpid(child, 0)[1]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.waitstatus_to_exitcode(status)).encode()]
"""


def test_a_forked_child_has_nothing_of_the_server(tmp_path):
    (tmp_path / "forking.py").write_text(FORKING)
    with serving("forking:app", tmp_path, "command", path=tmp_path) as program:
        assert [get(program).body for _ in range(3)] == [b"7"] * 3
        assert "Traceback" not in program.log()


def test_requests_leave_nothing_behind(tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    with serving("counting:app", tmp_path, "command", path=tmp_path, arguments=["-k", "gevent"]) as program:
        counts = []
        for _ in range(3):
            for _ in range(50):
                assert get(program, "/", method="POST", body=b"x" * 1000).status == 200
            counts.append(int(get(program, "/count").body))
        # Each connection has ended with its request.
        assert counts[2] <= counts[0] + 5, counts


COUNTING = """
import gc

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] != "/count":
        return [environ["wsgi.input"].read()]
    gc.collect()
    return [str(sum(type(one).__name__ in ("Input", "dict") and "wsgi.input" in getattr(one, "keys", tuple)()
                    for one in gc.get_objects())).encode()]
"""


def test_a_greenlet_that_waits_for_a_request_that_ends_is_resumed(script):
    program = script(
        """
        import gevent
        from gevent import monkey

        monkey.patch_all()
        import socket
        import amboss

        outcome = []

        def app(environ, start_response):
            def read():
                try:
                    environ["wsgi.input"].read()
                except ValueError as error:
                    outcome.append(str(error))

            gevent.spawn(read)
            gevent.sleep(0.1)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"answered"]

        server = amboss.make_server("127.0.0.1", 0, app, quiet=True, body_mode="stream")

        def use():
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\n")
                assert b"answered" in client.recv(1000)
                gevent.sleep(0.1)
            print(outcome)
            server.shutdown()

        gevent.spawn(use)
        server.serve_forever()
        """
    )
    assert program.wait_for_exit() == 0, program.err
    assert "its request has been answered" in program.out


def test_a_timeout_in_a_read_loses_nothing(script):
    program = script(
        """
        import gevent
        from gevent import monkey

        monkey.patch_all()
        import socket
        import amboss

        def app(environ, start_response):
            body, timeouts = b"", 0
            while len(body) < 20:
                try:
                    with gevent.Timeout(0.05):
                        body += environ["wsgi.input"].read(10)
                except gevent.Timeout:
                    timeouts += 1
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"%d " % min(timeouts, 2) + body]

        server = amboss.make_server("127.0.0.1", 0, app, quiet=True, body_mode="stream")

        def use():
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 20\\r\\n\\r\\n")
                for number in range(4):
                    gevent.sleep(0.2)
                    client.sendall(b"abc%02d" % number)
                response = client.recv(1000)
                while b"abc03" not in response:
                    response += client.recv(1000)
                print(response.decode().splitlines()[-1])
            server.shutdown()

        gevent.spawn(use)
        server.serve_forever()
        """
    )
    assert program.wait_for_exit() == 0, program.err
    assert program.out.strip() == "2 abc00abc01abc02abc03"


def test_close_ends_before_a_stop(tmp_path, library):
    with served(tmp_path, library) as program:
        assert get(program, "/slow-close").body == b"answered"
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0
        assert "closed slowly" in program.log()


def test_reading_and_writing_wait_at_the_same_time(tmp_path, library):
    with served(tmp_path, library, "--body-mode", "stream") as program, client(program) as one:
        size = 8_000_000
        one.send(b"POST /duplex HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        head = one.read_head()
        assert head.status == 200
        sender = threading.Thread(target=one.socket.sendall, args=(b"x" * size,))
        sender.start()
        received = 0
        while True:
            chunk = one.read_chunk()
            if not chunk:
                break
            received += len(chunk)
        sender.join(TIMEOUT)
        # The application writes as much as it is sent, and then how much it has read.
        assert received == size + len(str(size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("threads=4", "use worker_connections"),
        ("processes=2", "--workers"),
        ("threaded=False", "worker_connections=1"),
        ("passthrough_errors=True", "leave it out"),
        ("worker_connections=0", "1 or more"),
    ],
)
def test_options_that_exclude_greenlets_are_refused(options, message):
    code = f"import amboss; amboss.make_server('127.0.0.1', 0, print, worker_class='gevent', {options})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert "ValueError" in done.stderr and message in done.stderr, done.stderr


def test_a_library_that_is_not_installed_is_named(tmp_path):
    (tmp_path / "gevent.py").write_text("raise ImportError('no such package')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "amboss", "-p", "0", "-k", "gevent", TARGET]
    done = subprocess.run(command, cwd=APPS, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2 and "pip install gevent" in done.stderr, done.stderr


def test_other_threads_cannot_use_a_request(script):
    program = script(
        """
        import threading
        import urllib.request
        import amboss

        def app(environ, start_response):
            result = []
            def read():
                try:
                    environ["wsgi.input"].read()
                except RuntimeError as error:
                    result.append(str(error))
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [result[0].encode()]

        server = amboss.make_server("127.0.0.1", 0, app, worker_class="gevent", quiet=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        print(urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", b"body").read())
        server.shutdown()
        thread.join()
        """
    )
    assert program.wait_for_exit() == 0, program.err
    assert "belongs to the thread" in program.out


#: The tests of PEP 3333, which run again with a server whose requests run in greenlets.
PEP_3333 = [
    "test_blocks",
    "test_close",
    "test_environ",
    "test_errors",
    "test_extensions",
    "test_file_wrapper",
    "test_handler",
    "test_heads",
    "test_input",
    "test_proxies",
    "test_start_response",
]


@pytest.mark.takes(600)
def test_the_tests_of_pep_3333_pass_in_greenlets(library):
    environment = {**os.environ, "AMBOSS_TEST_GREENLETS": library}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"{name}.py" for name in PEP_3333)]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout[-8000:]
    assert re.search(r"\d{3} passed", done.stdout), textwrap.shorten(done.stdout, 400)
