"""Limits of the command in each process: concurrent requests, their duration and number; and the log file."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest

from client import Client
from commands import MODULE, Folder, is_alive, serving_command, serving_words, start
from commands import serving_processes as serving
from load import BackgroundRequest, Load, release_requests, wait_for_request
from programs import APPS
from waiting import TIMEOUT, wait_until


@pytest.fixture
def folder(tmp_path):
    """An empty directory, with the log beside it, in which requests wait."""
    return Folder(tmp_path / "work").path


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        (["--threads", "1"], 1),
        (["--single"], 1),
        (["--threads", "3"], 3),
        (["-w", "2", "--threads", "1"], 1),
        (["-w", "2", "--threads", "2"], 2),
    ],
)
def test_threads_limit_concurrent_requests(folder, arguments, bound):
    with serving(folder, *arguments) as server:

        def most():
            pending = [BackgroundRequest(server, "/beside?0.05") for _ in range(8)]
            return max(one.json()["running"] for one in pending)

        beside = [most() for _ in range(3)]
        assert max(beside) <= bound
        # The server also makes full use of the limit.
        server.wait_until(lambda: most() == bound, f"{bound} at once")


def test_a_request_that_waits_too_long_for_a_thread_gets_503_unless_disabled(folder):
    with serving(folder, "--threads", "1", "--queue-timeout", "0.2") as server:
        BackgroundRequest(server, f"/wait?{folder}")
        wait_for_request(folder)
        response = server.get("/")
        assert (response.status, response.header("Retry-After") is not None) == (503, True)
    (folder / "other").mkdir()
    with serving(folder, "--threads", "1", "--queue-timeout", "0") as server:
        pending = BackgroundRequest(server, f"/wait?{folder / 'other'}")
        wait_for_request(folder / "other")
        waiting = BackgroundRequest(server, "/")
        waiting.join(0.5)
        assert waiting.is_alive()
        release_requests(folder / "other")
        assert (pending.json()["main"], waiting.json()["main"]) == (None, None)


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
@pytest.mark.parametrize(
    ("what", "place"),
    [("hang", "in hang_here"), ("spin", "in spin_here"), ("block", "in blocks"), ("hold", None)],
)
def test_a_request_that_exceeds_the_timeout_is_aborted_and_its_worker_replaced(folder, arguments, what, place):
    with serving(folder, "--timeout", "1", *arguments) as server:
        with Load(server, 4, 0.02) as load:
            load.wait_for_more(50)
            began = time.monotonic()
            pending = BackgroundRequest(server, f"/{what}?{folder}")
            pid = wait_for_request(folder)
            pending.join(TIMEOUT)
            took = time.monotonic() - began
            assert not pending.is_alive(), server.log()
            server.wait_until(lambda: not is_alive(pid), "the end of the process")
            load.wait_for_more(50)
        # The connection is closed before or during the response, or the response is a 504.
        assert pending.error is not None or not pending.response.complete or pending.response.status == 504
        # The worker is replaced long before the minute that the request would take.
        assert 1 <= took < TIMEOUT
        # Requests in the same process can't be saved if code never releases the GIL.
        assert what == "hold" or load.failures == [], server.log()
        log = server.log()
        assert "a request has been running for 1 seconds (--timeout); this worker is replaced" in log
        assert "died" not in log and "panicked" not in log, log
        if place:
            assert re.search(r'stack of the request:\n(.*\n)*  File ".*processes\.py", line \d+, ' + place, log), log


def test_a_slow_request_within_the_timeout_completes(folder):
    with serving(folder, "--timeout", "5") as server:
        pid = server.json()["pid"]
        for _ in range(3):
            assert server.json("/sleep?1.8")["pid"] == pid
        assert "--timeout" not in server.log()


@pytest.mark.parametrize("mode", ["collect", "stream"])
def test_waiting_for_a_slow_client_does_not_count_towards_the_timeout(folder, mode):
    with serving(folder, "--timeout", "1", "--body-mode", mode) as server:
        pid = server.json()["pid"]
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n")
        # The whole wait takes three times the timeout.
        for _ in range(8):
            client.send(b"x")
            time.sleep(0.4)
        info = json.loads(client.read_response().body)
        assert (info["pid"], info["read"]) == (pid, 8)
        assert "--timeout" not in server.log()


@pytest.mark.parametrize("arguments", [["--single"], ["--threads", "1"], ["--single", "-w", "2"]])
@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_stop_does_not_wait_for_a_request_that_never_returns(folder, arguments, what):
    with serving(folder, "--graceful-timeout", "1", *arguments) as server:
        pending = BackgroundRequest(server, f"/{what}?{folder}")
        wait_for_request(folder)
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0, server.log()
        pending.join(TIMEOUT)


def test_time_on_the_connections_socket_does_not_count_towards_the_timeout(folder):
    with serving(folder, "--timeout", "1") as server:
        pid = server.json()["pid"]
        client = server.client()
        client.send(b"GET /socket HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        client.send(b"a")
        # Twice the timeout.
        time.sleep(2)
        client.send(b"b")
        assert client.read_to_end() == b"ab"
        assert server.json()["pid"] == pid
        assert "--timeout" not in server.log()


def test_a_worker_with_a_stuck_request_still_receives_other_bodies(folder):
    with serving(folder, "--threads", "4", "--timeout", "1") as server:
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhalf")
        stuck = BackgroundRequest(server, f"/hang?{folder}")
        pid = wait_for_request(folder)
        server.wait_until(lambda: server.json()["pid"] != pid, "a successor")
        time.sleep(0.5)
        client.send(b"half")
        info = json.loads(client.read_response().body)
        assert info["read"] == 8, server.log()
        stuck.join(TIMEOUT)
        server.wait_until(lambda: not is_alive(pid), "the end of the process")


@pytest.mark.parametrize("how", ["--timeout", "HUP"])
def test_requests_that_wait_for_a_thread_are_answered_by_the_successor(folder, how):
    timeout = "1" if how == "--timeout" else "60"
    with serving(folder, "--threads", "2", "--timeout", timeout) as server:
        second = folder / "second"
        second.mkdir()
        stuck = [BackgroundRequest(server, f"/hang?{folder}"), BackgroundRequest(server, f"/wait?{second}")]
        pid = wait_for_request(folder)
        # Both threads are busy, so later requests wait.
        wait_for_request(second)
        queued = [BackgroundRequest(server, "/") for _ in range(3)]
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"4\r\nbody\r\n0\r\n\r\n")
        if how == "HUP":
            server.signal("SIGHUP")
        assert all(one.json()["pid"] != pid for one in queued)
        info = json.loads(client.read_response().body)
        assert info["pid"] != pid and info["read"] == 4
        assert all(one.response is None for one in stuck)


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
def test_max_requests_replaces_workers_without_losing_requests(folder, arguments):
    with serving(folder, "--max-requests", "40", "--max-requests-jitter", "20", *arguments) as server:
        seen = set()
        with Load(server, 6, 0.005) as load:

            def replaced():
                seen.add(server.json()["pid"])
                return len(seen) >= 6

            server.wait_until(replaced, "six processes, one after the other")
        assert load.failures == [], server.log()
        assert "died" not in server.log()


def test_a_worker_serves_exactly_max_requests(folder):
    with serving(folder, "--max-requests", "5") as server:
        with server.client() as client:
            served = [json.loads(client.get().body)["pid"] for _ in range(5)]
            assert len(set(served)) == 1

            def another():
                served.append(json.loads(client.get().body)["pid"])
                return served[-1] != served[0]

            # The connection continues in the next process.
            server.wait_until(another, "another process")


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_the_log_file_is_reopened_after_it_was_moved(folder, arguments):
    log, moved = folder / "log", folder / "log.1"
    with serving(folder, "--log-file", str(log), *arguments) as server:
        server.get("/one")
        wait_until(lambda: "GET /one " in log.read_text(), "the first line")
        log.rename(moved)
        server.signal("SIGUSR1")
        wait_until(log.exists, "the file to be created")

        def comes():
            server.get("/two")
            return log.read_text().count("GET /two ") > 5

        server.wait_until(comes, "lines in the new file")
        # Both processes write to it.
        before = moved.read_text().count("GET /two ")
        for _ in range(20):
            server.get("/two")
        assert moved.read_text().count("GET /two ") == before
        assert "GET" not in server.log() and "died" not in server.log()


def test_a_worker_forked_later_writes_to_the_new_log_file(folder):
    log, moved = folder / "log", folder / "log.1"
    with serving(folder, "--log-file", str(log), "--preload") as server:
        server.get("/one")
        wait_until(lambda: "GET /one " in log.read_text(), "the first line")
        log.rename(moved)
        server.signal("SIGUSR1")
        wait_until(log.exists, "the file to be created")
        [before] = server.wait_for_workers(1)
        server.signal("SIGKILL", before)
        server.wait_until(lambda: server.wait_for_workers(1) != [before], "another process")
        server.get("/two")
        wait_until(lambda: "GET /two " in log.read_text(), "the access log line")
        assert "GET /two " not in moved.read_text()


def test_with_nohup_hup_reopens_the_log_and_does_not_end_the_server(folder):
    log, moved = folder / "log", folder / "log.1"
    # nohup ignores HUP in the same way.
    nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *MODULE]
    words = ["-b", "127.0.0.1:0", "--log-file", str(log), "processes:application"]
    with serving_words(words, folder, way=nohup, env={"PYTHONPATH": str(APPS)}) as server:
        server.get("/one")
        wait_until(lambda: "GET /one " in log.read_text(), "the first line")
        log.rename(moved)
        server.signal("SIGHUP")
        wait_until(log.exists, "the file to be created")
        assert server.get("/two").status == 200


SLOW = """
import os
import time

open("importing", "w").close()
while not os.path.exists("go-on"):
    time.sleep(0.01)

def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""


@pytest.mark.parametrize("arguments", [[], ["--preload", "-w", "2"]])
def test_hup_and_usr1_do_not_end_an_import(tmp_path, arguments):
    (tmp_path / "slow.py").write_text(SLOW)
    output = tmp_path / "output"
    with open(output, "w") as file:
        words = [*MODULE, "-b", "127.0.0.1:0", *arguments, "slow:app"]
        process = subprocess.Popen(words, cwd=tmp_path, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "importing").exists, "the import")
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGHUP)
        (tmp_path / "go-on").touch()
        wait_until(lambda: "Running on" in output.read_text(), "the banner")
        if not arguments:
            wait_until(lambda: "the code stays as it is" in output.read_text(), "the message about HUP")
        # Workers that were forked before the signal was handled must not have stopped because of it.
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text()).group(1))
        for _ in range(20):
            with Client(("127.0.0.1", port)) as client:
                assert client.get("/").status == 200, output.read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", [[], ["--preload", "-w", "2"]])
def test_ctrl_c_ends_an_import(tmp_path, arguments):
    (tmp_path / "slow.py").write_text(SLOW)
    words = [*MODULE, "-b", "127.0.0.1:0", *arguments, "slow:app"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "importing").exists, "the import")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_each_line_of_a_json_log_is_an_object(folder, arguments):
    log = folder / "log"
    with serving(folder, "--log-format", "json", "--log-file", str(log), *arguments) as server:
        for _ in range(10):
            server.get('/?a="b"', headers='User-Agent: "me"\r\n')
        wait_until(lambda: log.read_text().count("\n") == 10, "ten lines")
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            assert entry["status"] == 200, entry
            assert (entry["method"], entry["path"], entry["query"]) == ("GET", "/", 'a="b"'), entry
            assert (entry["remote_addr"], entry["user_agent"], entry["referer"]) == ("127.0.0.1", '"me"', None), entry
            assert 0 <= entry["wait_ms"] <= entry["duration_ms"], entry
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]), entry


def test_an_exception_is_one_object_of_a_json_log(folder):
    log = folder / "log"
    arguments = ["--log-format", "json", "--log-file", str(log), "plain:application"]
    with serving_command(folder, *arguments, env={"PYTHONPATH": str(APPS)}) as server:
        assert server.get("/fail").status == 500
        wait_until(lambda: log.read_text().count("\n") >= 2, "the error and the request")
    error, request = map(json.loads, log.read_text().splitlines())
    assert error["error"] == 'error on "GET /fail HTTP/1.1": ValueError: on purpose', error
    assert error["traceback"].startswith("Traceback (most recent call last):\n  File "), error
    assert error["traceback"].endswith("\nValueError: on purpose"), error
    assert (request["path"], request["status"]) == ("/fail", 500), request


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_a_quiet_server_logs_only_errors(folder, arguments, quiet):
    path = str(folder / "socket")
    environment = {"PYTHONPATH": str(APPS)}
    server = start(["--bind", f"unix://{path}", quiet, *arguments, "plain:application"], folder, env=environment)
    try:
        wait_until(lambda: is_listening(path), "the server")
        with Client(path) as client:
            assert client.get("/there").status == 200
            assert server.log() == ""
            assert client.get("/fail").status == 500
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0
        assert ("ValueError: on purpose" in server.log()) == (quiet == "-q")
        assert "GET /there" not in server.log()
    finally:
        server.terminate()


def is_listening(path):
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0
