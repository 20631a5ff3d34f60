"""``amboss -w N``: several processes, and what happens when one or all of them end."""

import time

import pytest

from commands import MODULE, Folder, app, children, is_alive, is_free, serving_words, start
from commands import serving_processes as serving
from load import BackgroundRequest, Load, release_requests, wait_for_request
from waiting import TIMEOUT, wait_until


@pytest.fixture
def folder(tmp_path):
    """An empty directory, with the log beside it, in which requests wait."""
    return Folder(tmp_path / "work").path


def wait_for_imports(folder, arguments):
    """Waits until all processes have imported the application: a starting interpreter prints KeyboardInterrupt."""
    count = 2 if "-w" in arguments else 1
    wait_until(lambda: len(list(folder.glob("imported-*"))) >= count, "the imports")


@pytest.mark.parametrize(
    ("arguments", "multithread", "multiprocess"),
    [
        ([], True, False),
        (["--threads", "1"], False, False),
        (["--single"], False, False),
        (["--timeout", "60"], True, False),
        (["-r"], True, False),
        (["-w", "2"], True, True),
        (["-w", "2", "--threads", "1"], False, True),
    ],
)
def test_multithread_and_multiprocess_are_correct(folder, arguments, multithread, multiprocess):
    with serving(folder, *arguments) as server:
        info = server.json()
        assert (info["multithread"], info["multiprocess"]) == (multithread, multiprocess)
        assert (info["pid"] == server.pid) == (info["main"] is None)


def test_requests_reach_all_processes(folder):
    with serving(folder, "-w", "3", "--threads", "1") as server:
        workers = server.wait_for_workers(3)
        reached = set()

        def all_reached():
            pending = [BackgroundRequest(server, "/sleep?0.1") for _ in range(6)]
            reached.update(one.json()["pid"] for one in pending)
            return reached >= set(workers)

        server.wait_until(all_reached, "requests in all processes")
        assert reached == set(workers)


def test_no_request_waits_while_another_process_has_idle_threads(folder):
    with serving(folder, "-w", "2", "--threads", "4") as server:
        server.wait_for_workers(2)

        def four_each():
            pending = [BackgroundRequest(server, "/sleep?0.3") for _ in range(8)]
            pids = [one.json()["pid"] for one in pending]
            return all(pids.count(pid) == 4 for pid in pids)

        # By chance, one round of four would be even; with fair sharing, nearly all of ten rounds must be.
        server.wait_until(lambda: sum(four_each() for _ in range(10)) >= 8, "four requests in each process")


def test_new_connections_go_to_a_process_that_is_not_busy(folder):
    with serving(folder, "-w", "2", "--threads", "1") as server:
        server.wait_for_workers(2)
        pending = BackgroundRequest(server, f"/wait?{folder}")
        pid = wait_for_request(folder)
        short = [BackgroundRequest(server, "/") for _ in range(20)]
        for _ in range(20):
            # One after the other: the system notifies only one process of each connection.
            short.append(BackgroundRequest(server, "/"))
            time.sleep(0.03)
        server.wait_until(lambda: sum(one.is_alive() for one in short) <= 4, "the others")
        release_requests(folder)
        assert pending.json()["pid"] == pid
        assert sum(one.json()["pid"] == pid for one in short) <= 4


def test_a_killed_worker_is_replaced_and_only_its_requests_are_lost(folder):
    with serving(folder, "-w", "2") as server:
        workers = server.wait_for_workers(2)
        # A process that has served a request.
        before = sorted(workers, key=server.json()["pid"].__ne__)
        # Each request uses its own connection, because idle connections end with the process that holds them.
        with Load(server, 6, 0.01, keep=False) as load:
            load.wait_for_more(100)
            began = time.monotonic()
            server.signal("SIGKILL", before[0])
            server.wait_until(lambda: not is_alive(before[0]), "the end of the process")
            ended = time.monotonic()
            after = server.wait_until(lambda: others(server, before, 2), "a new process")
            load.wait_for_more(200)
        assert before[1] in after
        # Only requests that were running at that moment have failed.
        assert [failure for failure in load.failures if failure.began > ended or failure.ended < began] == []
        assert len(load.failures) <= 6
        assert f"The process {before[0]} died" in server.log()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("arguments", [["-w", "2"], ["-w", "2", "--preload"], ["--timeout", "60"], ["-r"]])
def test_a_worker_that_a_signal_stops_is_replaced_and_finishes_its_requests(folder, arguments, name):
    count = 2 if "-w" in arguments else 1
    with serving(folder, *arguments) as server:
        workers = server.wait_for_workers(count)
        pending = BackgroundRequest(server, f"/wait?{folder}")
        pid = wait_for_request(folder)
        server.signal(name, pid)
        # The replacement starts before the old worker's request is done.
        server.wait_until(lambda: any(one not in workers for one in children(server.pid)), "another process")
        server.wait_until(lambda: all(server.json()["pid"] != pid for _ in range(5)), "the other responses")
        release_requests(folder)
        assert pending.json()["pid"] == pid
        server.wait_until(lambda: not is_alive(pid), "the end of the process")
        assert set(workers) - {pid} <= set(server.wait_for_workers(count))
        assert "died" not in server.log() and "has exited" not in server.log(), server.log()
        server.interrupt()
        assert server.wait_for_exit() == 0


def others(server, before, count):
    workers = server.wait_for_workers(count)
    return workers if set(workers) - set(before) else None


def test_hup_replaces_the_workers_without_losing_requests(folder):
    with serving(folder, "-w", "2") as server:
        before = server.wait_for_workers(2)
        with Load(server, 6, 0.01) as load:
            load.wait_for_more(100)
            server.signal("SIGHUP")
            server.wait_until(lambda: not any(map(is_alive, before)), "the end of the old processes")
            load.wait_for_more(100)
        assert load.failures == [], server.log()
        assert not set(server.wait_for_workers(2)) & set(before)


#: A shell that ignores SIGCHLD; its programs inherit that. Not every ``sh`` supports it.
IGNORES_CHILDREN = ["bash", "-c", 'trap \'\' CHLD; exec "$0" "$@"', *MODULE]

SAYS_HOW_CHILDREN_END = """
import os, subprocess, sys

def app(environ, start_response):
    start_response("200 OK", [])
    code = subprocess.call([sys.executable, "-c", "raise SystemExit(7)"])
    return [f"{code} {os.getpid()}".encode()]
"""


@pytest.mark.parametrize("arguments", [["-w", "2"], ["--timeout", "9"], ["--preload", "-w", "2"], []])
def test_with_sigchld_ignored_exits_are_noticed_and_failures_not_retried_forever(folder, arguments):
    server = start(["-p", "0", *arguments, "nosuchmodule:app"], folder, IGNORES_CHILDREN)
    try:
        assert server.wait_for_exit() == 2, server.log()
    finally:
        server.terminate()
    Folder(folder).save("ends.py", SAYS_HOW_CHILDREN_END)
    with serving_words(["-b", "127.0.0.1:0", *arguments, "ends:app"], folder, way=IGNORES_CHILDREN) as server:
        code, pid = server.version()
        assert code == "7"
        if arguments:
            server.signal("SIGKILL", pid)
            server.wait_for_log(f"The process {pid} died.*SIGKILL")
            assert server.wait_for_version("7") != pid
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0, server.log()


def test_signals_change_the_number_of_workers_but_never_to_zero(folder):
    with serving(folder, "-w", "2") as server:
        server.wait_for_workers(2)
        for name, count in [("TTIN", 3), ("TTOU", 2), ("TTOU", 1), ("TTOU", 1), ("TTIN", 2)]:
            before = server.log().count(f"Workers: {count}\n")
            server.signal(f"SIG{name}")
            wait_until(lambda: server.log().count(f"Workers: {count}\n") > before, "the signal to be handled")
            server.wait_for_workers(count)
        assert server.log().count("Workers: 1\n") == 2
        assert server.json()["multiprocess"] is True


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"], ["--timeout", "60"]])
@pytest.mark.parametrize("name", ["SIGTERM", "CTRL+C"])
def test_a_stop_lets_running_requests_finish(folder, arguments, name):
    with serving(folder, *arguments) as server:
        wait_for_imports(folder, arguments)
        with server.client() as idle:
            idle.get()
            pending = BackgroundRequest(server, f"/wait?{folder}")
            pid = wait_for_request(folder)
            server.interrupt() if name == "CTRL+C" else server.signal(name)
            assert idle.is_closed(), "it is closed as soon as anything stops"
        assert is_alive(pid)
        release_requests(folder)
        assert pending.json()["pid"] == pid
        assert server.wait_for_exit() == 0
        log = server.log()
        assert log.count("Stopping when the running requests are done") == (name == "CTRL+C"), log
        assert "Traceback" not in log and "died" not in log


@pytest.mark.parametrize(
    ("arguments", "what"),
    # Without a supervisor, code that never releases the GIL can't be interrupted.
    [([], "wait"), ([], "spin"), (["-w", "2"], "wait"), (["-w", "2"], "hold"), (["-r"], "spin"), (["-r"], "hold")],
)
def test_a_second_interrupt_ends_the_server_at_once(folder, arguments, what):
    with serving(folder, *arguments) as server:
        wait_for_imports(folder, arguments)
        pending = BackgroundRequest(server, f"/{what}?{folder}")
        wait_for_request(folder)
        server.interrupt()
        server.wait_for_log("again to stop at once")
        began = time.monotonic()
        interrupts = 0

        def over():
            # A second interrupt shortly after the first is taken for the same one.
            nonlocal interrupts
            if server.process.poll() is None and time.monotonic() > began + interrupts:
                interrupts += 1
                server.interrupt()
            return server.process.poll() is not None

        server.wait_until(over, "the end of the server")
        # The server ends earlier than the deadline of running requests.
        assert time.monotonic() - began < 8
        assert server.wait_for_exit() == 130
        assert "Traceback" not in server.log() and "Fatal" not in server.log(), server.log()
        pending.join(TIMEOUT)
        assert pending.response is None


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["-w", "2"], None), (["-r"], None), (["--timeout", "60"], None), (["-w", "2"], "wait"), (["-r"], "spin")],
)
def test_all_processes_end_if_the_supervisor_is_killed(folder, arguments, what):
    with serving(folder, "--graceful-timeout", "1", *arguments) as server:
        server.json()
        if what:
            BackgroundRequest(server, f"/{what}?{folder}")
            wait_for_request(folder)
        server.signal("SIGKILL")
        assert server.wait_for_exit() == -9
        wait_until(lambda: is_free(server.port), "the port")


def test_a_stuck_worker_ends_if_its_supervisor_is_killed(folder):
    with serving(folder, "-w", "2", "--graceful-timeout", "0.5") as server:
        BackgroundRequest(server, f"/hold?{folder}")
        pid = wait_for_request(folder)
        server.signal("SIGKILL")
        began = time.monotonic()
        # The worker may take as long as with its supervisor: three times half a second, and two seconds.
        wait_until(lambda: not is_alive(pid), "the end of the process", TIMEOUT)
        assert time.monotonic() - began > 1.5
        assert server.wait_for_exit() == -9
        wait_until(lambda: is_free(server.port), "the port")


def test_all_processes_end_if_the_supervisor_is_killed_during_imports(folder):
    work = Folder(folder)
    work.save("lazy.py", "import time\nopen('here', 'w').close()\ntime.sleep(60)\n" + app("never"))
    server = start(["--port", "0", "-w", "2", "lazy:app"], folder)
    try:
        wait_until((folder / "here").exists, "the import")
        server.signal("SIGKILL")
        server.wait_for_exit()
    finally:
        server.terminate()


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
@pytest.mark.parametrize("how", ["fork", "os.fork", "subprocess"])
def test_terminating_a_child_of_the_application_does_not_stop_the_server(folder, arguments, how):
    with serving(folder, *arguments) as server:
        for _ in range(5):
            assert server.json(f"/child?{how}")["ended by"] == -15
        assert len({server.json()["pid"] for _ in range(5)}) <= 2
        assert "died" not in server.log() and "Traceback" not in server.log()
        server.interrupt()
        assert server.wait_for_exit() == 0


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_a_server_that_the_application_starts_is_independent(folder, arguments):
    with serving(folder, *arguments) as server:
        assert server.json(f"/server?{folder}/socket")["output"].strip() == "answered"
