"""What the command sees to in each process: how many requests run at once, how long, how many of them, and the log."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest
from client import PATIENCE, Client
from commands import MODULE, Folder, is_alive, serving_command, serving_words, start
from commands import serving_processes as serving
from load import Asked, Load, go_on, wait_for_request
from programs import APPS, wait_for


@pytest.fixture
def folder(tmp_path):
    """An empty one, with the log beside it; requests wait there."""
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
def test_no_more_requests_run_at_once_than_there_are_threads(folder, arguments, bound):
    with serving(folder, *arguments) as server:

        def most():
            asked = [Asked(server, "/beside?0.05") for _ in range(8)]
            return max(one.json()["running"] for one in asked)

        beside = [most() for _ in range(3)]
        assert max(beside) <= bound
        # And they are used.
        server.eventually(f"{bound} at once", lambda: most() == bound)


def test_a_request_that_waits_too_long_for_a_thread_gets_503_unless_that_is_switched_off(folder):
    with serving(folder, "--threads", "1", "--queue-timeout", "0.2") as server:
        Asked(server, f"/wait?{folder}")
        wait_for_request(folder)
        answer = server.get("/")
        assert (answer.status, answer.header("Retry-After") is not None) == (503, True)
    (folder / "other").mkdir()
    with serving(folder, "--threads", "1", "--queue-timeout", "0") as server:
        asked = Asked(server, f"/wait?{folder / 'other'}")
        wait_for_request(folder / "other")
        waiting = Asked(server, "/")
        waiting.join(0.5)
        assert waiting.is_alive()
        go_on(folder / "other")
        assert (asked.json()["main"], waiting.json()["main"]) == (None, None)


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
@pytest.mark.parametrize(
    ("what", "place"),
    [("hang", "in hang_here"), ("spin", "in spin_here"), ("block", "in blocks"), ("hold", None)],
)
def test_a_request_that_takes_too_long_is_cut_and_its_worker_replaced(folder, arguments, what, place):
    with serving(folder, "--timeout", "1", *arguments) as server:
        with Load(server, 4, 0.02) as load:
            load.more(50)
            began = time.monotonic()
            asked = Asked(server, f"/{what}?{folder}")
            pid = wait_for_request(folder)
            asked.join(PATIENCE)
            took = time.monotonic() - began
            assert not asked.is_alive(), server.log()
            server.eventually("the end of that process", lambda: not is_alive(pid))
            load.more(50)
        # Cut, before or within its answer.
        assert asked.error is not None or not asked.answer.complete or asked.answer.status == 504
        # Not after the minute that it would take.
        assert 1 <= took < PATIENCE
        # What shares a process with code that never lets go of the interpreter can't be helped.
        assert what == "hold" or load.failures == [], server.log()
        log = server.log()
        assert "a request has been running for 1 seconds (--timeout); this worker is replaced" in log
        assert "died" not in log and "panicked" not in log, log
        if place:
            assert re.search(r'stack of the request:\n(.*\n)*  File ".*processes\.py", line \d+, ' + place, log), log


def test_a_request_that_takes_its_time_within_the_timeout_is_left_alone(folder):
    with serving(folder, "--timeout", "5") as server:
        pid = server.json()["pid"]
        for _ in range(3):
            assert server.json("/sleep?1.8")["pid"] == pid
        assert "--timeout" not in server.log()


@pytest.mark.parametrize("mode", ["collect", "stream"])
def test_the_time_of_a_slow_client_is_not_the_applications(folder, mode):
    with serving(folder, "--timeout", "1", "--body-mode", mode) as server:
        pid = server.json()["pid"]
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n")
        # Three times what a request may take.
        for _ in range(8):
            client.send(b"x")
            time.sleep(0.4)
        told = json.loads(client.answer().body)
        assert (told["pid"], told["read"]) == (pid, 8)
        assert "--timeout" not in server.log()


@pytest.mark.parametrize("arguments", [["--single"], ["--threads", "1"], ["--single", "-w", "2"]])
@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_stop_does_not_wait_for_a_request_that_never_comes_back(folder, arguments, what):
    with serving(folder, "--graceful-timeout", "1", *arguments) as server:
        asked = Asked(server, f"/{what}?{folder}")
        wait_for_request(folder)
        server.signal("SIGTERM")
        assert server.ended() == 0, server.log()
        asked.join(PATIENCE)


def test_nobody_can_tell_whose_time_passes_on_a_connections_socket(folder):
    with serving(folder, "--timeout", "1") as server:
        pid = server.json()["pid"]
        client = server.client()
        client.send(b"GET /socket HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        client.send(b"a")
        # Twice what a request may take.
        time.sleep(2)
        client.send(b"b")
        assert client.rest() == b"ab"
        assert server.json()["pid"] == pid
        assert "--timeout" not in server.log()


def test_a_body_that_is_still_arriving_is_waited_for_when_another_request_is_stuck(folder):
    with serving(folder, "--threads", "4", "--timeout", "1") as server:
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhalf")
        stuck = Asked(server, f"/hang?{folder}")
        pid = wait_for_request(folder)
        server.eventually("a successor", lambda: server.json()["pid"] != pid)
        time.sleep(0.5)
        client.send(b"half")
        told = json.loads(client.answer().body)
        assert told["read"] == 8, server.log()
        stuck.join(PATIENCE)
        server.eventually("the end of that process", lambda: not is_alive(pid))


@pytest.mark.parametrize("how", ["--timeout", "HUP"])
def test_requests_that_wait_for_a_thread_are_answered_by_the_successor(folder, how):
    timeout = "1" if how == "--timeout" else "60"
    with serving(folder, "--threads", "2", "--timeout", timeout) as server:
        second = folder / "second"
        second.mkdir()
        stuck = [Asked(server, f"/hang?{folder}"), Asked(server, f"/wait?{second}")]
        pid = wait_for_request(folder)
        # Both run: what comes now has to wait.
        wait_for_request(second)
        queued = [Asked(server, "/") for _ in range(3)]
        client = server.client()
        client.send(b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"4\r\nbody\r\n0\r\n\r\n")
        if how == "HUP":
            server.signal("SIGHUP")
        assert all(one.json()["pid"] != pid for one in queued)
        told = json.loads(client.answer().body)
        assert told["pid"] != pid and told["read"] == 4
        assert all(one.answer is None for one in stuck)


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
def test_after_so_many_requests_a_worker_is_replaced_and_nobody_notices(folder, arguments):
    with serving(folder, "--max-requests", "40", "--max-requests-jitter", "20", *arguments) as server:
        seen = set()
        with Load(server, 6, 0.005) as load:

            def replaced():
                seen.add(server.json()["pid"])
                return len(seen) >= 6

            server.eventually("six processes, one after the other", replaced)
        assert load.failures == [], server.log()
        assert "died" not in server.log()


def test_a_worker_serves_as_many_requests_as_was_said(folder):
    with serving(folder, "--max-requests", "5") as server:
        with server.client() as client:
            served = [json.loads(client.get().body)["pid"] for _ in range(5)]
            assert len(set(served)) == 1

            def another():
                served.append(json.loads(client.get().body)["pid"])
                return served[-1] != served[0]

            # The connection goes on, with the next process.
            server.eventually("another process", another)


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_the_log_file_is_opened_anew_when_it_was_moved_away(folder, arguments):
    log, moved = folder / "log", folder / "log.1"
    with serving(folder, "--log-file", str(log), *arguments) as server:
        server.get("/one")
        wait_for("the first line", lambda: "GET /one " in log.read_text())
        log.rename(moved)
        server.signal("SIGUSR1")
        wait_for("the file to be made", log.exists)

        def comes():
            server.get("/two")
            return log.read_text().count("GET /two ") > 5

        server.eventually("lines in the new file", comes)
        # Both processes have it.
        before = moved.read_text().count("GET /two ")
        for _ in range(20):
            server.get("/two")
        assert moved.read_text().count("GET /two ") == before
        assert "GET" not in server.log() and "died" not in server.log()


def test_a_process_that_is_forked_later_writes_to_the_file_that_is_there_by_then(folder):
    log, moved = folder / "log", folder / "log.1"
    with serving(folder, "--log-file", str(log), "--preload") as server:
        server.get("/one")
        wait_for("the first line", lambda: "GET /one " in log.read_text())
        log.rename(moved)
        server.signal("SIGUSR1")
        wait_for("the file to be made", log.exists)
        [before] = server.workers(1)
        server.signal("SIGKILL", before)
        server.eventually("another", lambda: server.workers(1) != [before])
        server.get("/two")
        wait_for("its line", lambda: "GET /two " in log.read_text())
        assert "GET /two " not in moved.read_text()


def test_nohup_keeps_hup_from_ending_it_and_not_from_opening_the_log(folder):
    log, moved = folder / "log", folder / "log.1"
    # As nohup does.
    nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *MODULE]
    words = ["-b", "127.0.0.1:0", "--log-file", str(log), "processes:application"]
    with serving_words(words, folder, way=nohup, env={"PYTHONPATH": str(APPS)}) as server:
        server.get("/one")
        wait_for("the first line", lambda: "GET /one " in log.read_text())
        log.rename(moved)
        server.signal("SIGHUP")
        wait_for("the file to be made", log.exists)
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
def test_signals_for_the_log_end_nothing_while_the_application_is_imported(tmp_path, arguments):
    (tmp_path / "slow.py").write_text(SLOW)
    said = tmp_path / "said"
    with open(said, "w") as file:
        words = [*MODULE, "-b", "127.0.0.1:0", *arguments, "slow:app"]
        process = subprocess.Popen(words, cwd=tmp_path, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_for("the import", (tmp_path / "importing").exists)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGHUP)
        (tmp_path / "go-on").touch()
        wait_for("the banner", lambda: "Running on" in said.read_text())
        if not arguments:
            wait_for("what HUP has done", lambda: "the code stays as it is" in said.read_text())
        # Processes that were forked from what was imported then have not stopped on hearing of it.
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", said.read_text()).group(1))
        for _ in range(20):
            with Client(("127.0.0.1", port)) as client:
                assert client.get("/").status == 200, said.read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", [[], ["--preload", "-w", "2"]])
def test_ctrl_c_ends_an_import(tmp_path, arguments):
    (tmp_path / "slow.py").write_text(SLOW)
    words = [*MODULE, "-b", "127.0.0.1:0", *arguments, "slow:app"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_for("the import", (tmp_path / "importing").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_each_line_of_the_log_is_an_object(folder, arguments):
    log = folder / "log"
    with serving(folder, "--log-format", "json", "--log-file", str(log), *arguments) as server:
        for _ in range(10):
            server.get("/?a=\"b\"", headers='User-Agent: "me"\r\n')
        wait_for("ten lines", lambda: log.read_text().count("\n") == 10)
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            assert entry["status"] == 200, entry
            assert (entry["method"], entry["path"], entry["query"]) == ("GET", "/", 'a="b"'), entry
            assert (entry["remote_addr"], entry["user_agent"], entry["referer"]) == ("127.0.0.1", '"me"', None), entry
            assert 0 <= entry["wait_ms"] <= entry["duration_ms"], entry
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]), entry


def test_an_exception_is_one_object_of_the_log(folder):
    log = folder / "log"
    arguments = ["--log-format", "json", "--log-file", str(log), "plain:application"]
    with serving_command(folder, *arguments, env={"PYTHONPATH": str(APPS)}) as server:
        assert server.get("/fail").status == 500
        wait_for("the error and the request", lambda: log.read_text().count("\n") >= 2)
    error, request = map(json.loads, log.read_text().splitlines())
    assert error["error"] == 'error on "GET /fail HTTP/1.1": ValueError: on purpose', error
    assert error["traceback"].startswith("Traceback (most recent call last):\n  File "), error
    assert error["traceback"].endswith("\nValueError: on purpose"), error
    assert (request["path"], request["status"]) == ("/fail", 500), request


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_what_a_quiet_server_says(folder, arguments, quiet):
    path = str(folder / "socket")
    surroundings = {"PYTHONPATH": str(APPS)}
    server = start(["--bind", f"unix://{path}", quiet, *arguments, "plain:application"], folder, env=surroundings)
    try:
        wait_for("the server", lambda: is_listening(path))
        with Client(path) as client:
            assert client.get("/there").status == 200
            assert server.log() == ""
            assert client.get("/fail").status == 500
        server.signal("SIGTERM")
        assert server.ended() == 0
        assert ("ValueError: on purpose" in server.log()) == (quiet == "-q")
        assert "GET /there" not in server.log()
    finally:
        server.end()


def is_listening(path):
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0
