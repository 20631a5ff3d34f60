"""``amboss -w N``: several processes, and what becomes of them when one of them, or all, are told to end."""

import time

import pytest
from commands import MODULE, Folder, app, children, is_alive, is_free, serving_processes as serving, serving_words, start
from load import Asked, Load, go_on, wait_for_request
from programs import PATIENCE, wait_for


@pytest.fixture
def folder(tmp_path):
    """An empty one, with the log beside it; requests wait there."""
    return Folder(tmp_path / "work").path


def imported(folder, arguments):
    """Waits until every process is past its imports: an interpreter that starts has its own words for an interrupt."""
    count = 2 if "-w" in arguments else 1
    wait_for("the imports", lambda: len(list(folder.glob("imported-*"))) >= count)


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
def test_the_application_is_told_who_else_may_run_it(folder, arguments, multithread, multiprocess):
    with serving(folder, *arguments) as server:
        told = server.json()
        assert (told["multithread"], told["multiprocess"]) == (multithread, multiprocess)
        assert (told["pid"] == server.pid) == (told["main"] is None)


def test_requests_reach_all_processes(folder):
    with serving(folder, "-w", "3", "--threads", "1") as server:
        workers = server.workers(3)
        reached = set()

        def all_reached():
            asked = [Asked(server, "/sleep?0.1") for _ in range(6)]
            reached.update(one.json()["pid"] for one in asked)
            return reached >= set(workers)

        server.eventually("requests in all processes", all_reached)
        assert reached == set(workers)


def test_no_request_waits_in_one_process_while_another_has_threads(folder):
    with serving(folder, "-w", "2", "--threads", "4") as server:
        server.workers(2)

        def four_each():
            asked = [Asked(server, "/sleep?0.3") for _ in range(8)]
            pids = [one.json()["pid"] for one in asked]
            return all(pids.count(pid) == 4 for pid in pids)

        # Not by chance, as one time in four: in nearly all of ten rounds.
        server.eventually("four in each", lambda: sum(four_each() for _ in range(10)) >= 8)


def test_new_connections_are_left_to_a_process_that_is_not_busy(folder):
    with serving(folder, "-w", "2", "--threads", "1") as server:
        server.workers(2)
        asked = Asked(server, f"/wait?{folder}")
        pid = wait_for_request(folder)
        short = [Asked(server, "/") for _ in range(20)]
        for _ in range(20):
            # One by one, too: of each the system tells one process.
            short.append(Asked(server, "/"))
            time.sleep(0.03)
        server.eventually("the others", lambda: sum(one.is_alive() for one in short) <= 4)
        go_on(folder)
        assert asked.json()["pid"] == pid
        assert sum(one.json()["pid"] == pid for one in short) <= 4


def test_a_worker_that_is_killed_is_replaced_and_takes_only_its_own_requests_along(folder):
    with serving(folder, "-w", "2") as server:
        workers = server.workers(2)
        # One that certainly serves.
        before = sorted(workers, key=server.json()["pid"].__ne__)
        # A connection that is kept goes down with the process that keeps it: each request has one of its own.
        with Load(server, 6, 0.01, keep=False) as load:
            load.more(100)
            began = time.monotonic()
            server.signal("SIGKILL", before[0])
            server.eventually("its end", lambda: not is_alive(before[0]))
            ended = time.monotonic()
            after = server.eventually("a new one", lambda: others(server, before, 2))
            load.more(200)
        assert before[1] in after
        # What failed was under way at that moment.
        assert [failure for failure in load.failures if failure.began > ended or failure.ended < began] == []
        assert len(load.failures) <= 6
        assert f"The process {before[0]} died" in server.log()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("arguments", [["-w", "2"], ["-w", "2", "--preload"], ["--timeout", "60"], ["-r"]])
def test_a_worker_that_a_signal_stops_is_replaced_and_finishes_its_requests(folder, arguments, name):
    count = 2 if "-w" in arguments else 1
    with serving(folder, *arguments) as server:
        workers = server.workers(count)
        asked = Asked(server, f"/wait?{folder}")
        pid = wait_for_request(folder)
        server.signal(name, pid)
        # Somebody takes its place before its request is done.
        server.eventually("another", lambda: any(one not in workers for one in children(server.pid)))
        server.eventually("the others' answers", lambda: all(server.json()["pid"] != pid for _ in range(5)))
        go_on(folder)
        assert asked.json()["pid"] == pid
        server.eventually("its end", lambda: not is_alive(pid))
        assert set(workers) - {pid} <= set(server.workers(count))
        assert "died" not in server.log() and "itself" not in server.log(), server.log()
        server.interrupt()
        assert server.ended() == 0


def others(server, before, count):
    workers = server.workers(count)
    return workers if set(workers) - set(before) else None


def test_hup_replaces_them_and_loses_nothing(folder):
    with serving(folder, "-w", "2") as server:
        before = server.workers(2)
        with Load(server, 6, 0.01) as load:
            load.more(100)
            server.signal("SIGHUP")
            server.eventually("the end of the old ones", lambda: not any(map(is_alive, before)))
            load.more(100)
        assert load.failures == [], server.log()
        assert not set(server.workers(2)) & set(before)


#: A shell that ignores SIGCHLD, which what it executes inherits; not every ``sh`` can do that.
IGNORES_CHILDREN = ["bash", "-c", "trap '' CHLD; exec \"$0\" \"$@\"", *MODULE]

SAYS_HOW_CHILDREN_END = """
import os, subprocess, sys

def app(environ, start_response):
    start_response("200 OK", [])
    code = subprocess.call([sys.executable, "-c", "raise SystemExit(7)"])
    return [f"{code} {os.getpid()}".encode()]
"""


@pytest.mark.parametrize("arguments", [["-w", "2"], ["--timeout", "9"], ["--preload", "-w", "2"], []])
def test_where_sigchld_is_ignored_nothing_is_retried_forever_and_ends_are_noticed(folder, arguments):
    server = start(["-p", "0", *arguments, "nosuchmodule:app"], folder, IGNORES_CHILDREN)
    try:
        assert server.ended() == 2, server.log()
    finally:
        server.end()
    Folder(folder).save("ends.py", SAYS_HOW_CHILDREN_END)
    with serving_words(["-b", "127.0.0.1:0", *arguments, "ends:app"], folder, way=IGNORES_CHILDREN) as server:
        code, pid = server.version()
        assert code == "7"
        if arguments:
            server.signal("SIGKILL", pid)
            server.wait_for_log(f"The process {pid} died.*SIGKILL")
            assert server.serves("7") != pid
        server.signal("SIGTERM")
        assert server.ended() == 0, server.log()


def test_their_number_goes_up_and_down_and_never_to_none(folder):
    with serving(folder, "-w", "2") as server:
        server.workers(2)
        for name, count in [("TTIN", 3), ("TTOU", 2), ("TTOU", 1), ("TTOU", 1), ("TTIN", 2)]:
            said = server.log().count(f"Workers: {count}\n")
            server.signal(f"SIG{name}")
            wait_for("the signal to be heard", lambda: server.log().count(f"Workers: {count}\n") > said)
            server.workers(count)
        assert server.log().count("Workers: 1\n") == 2
        assert server.json()["multiprocess"] is True


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"], ["--timeout", "60"]])
@pytest.mark.parametrize("name", ["SIGTERM", "CTRL+C"])
def test_running_requests_finish_and_the_end_is_clean(folder, arguments, name):
    with serving(folder, *arguments) as server:
        imported(folder, arguments)
        with server.client() as idle:
            idle.get()
            asked = Asked(server, f"/wait?{folder}")
            pid = wait_for_request(folder)
            server.interrupt() if name == "CTRL+C" else server.signal(name)
            assert idle.is_over(), "it is closed as soon as anything stops"
        assert is_alive(pid)
        go_on(folder)
        assert asked.json()["pid"] == pid
        assert server.ended() == 0
        log = server.log()
        assert log.count("Stopping when the running requests are done") == (name == "CTRL+C"), log
        assert "Traceback" not in log and "died" not in log


@pytest.mark.parametrize(
    ("arguments", "what"),
    # Nobody but a supervisor takes the interpreter from code that never lets go of it.
    [([], "wait"), ([], "spin"), (["-w", "2"], "wait"), (["-w", "2"], "hold"), (["-r"], "spin"), (["-r"], "hold")],
)
def test_a_second_interrupt_ends_it_at_once(folder, arguments, what):
    with serving(folder, *arguments) as server:
        imported(folder, arguments)
        asked = Asked(server, f"/{what}?{folder}")
        wait_for_request(folder)
        server.interrupt()
        server.wait_for_log("again to stop at once")
        began = time.monotonic()
        interrupts = 0

        def over():
            # One that comes a moment after the first is taken for the first.
            nonlocal interrupts
            if server.process.poll() is None and time.monotonic() > began + interrupts:
                interrupts += 1
                server.interrupt()
            return server.process.poll() is not None

        server.eventually("the end", over)
        # Not after the time that running requests would have.
        assert time.monotonic() - began < 8
        assert server.ended() == 130
        assert "Traceback" not in server.log() and "Fatal" not in server.log(), server.log()
        asked.join(PATIENCE)
        assert asked.answer is None


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["-w", "2"], None), (["-r"], None), (["--timeout", "60"], None), (["-w", "2"], "wait"), (["-r"], "spin")],
)
def test_nothing_is_left_of_a_supervisor_that_is_killed(folder, arguments, what):
    with serving(folder, "--graceful-timeout", "1", *arguments) as server:
        server.json()
        if what:
            Asked(server, f"/{what}?{folder}")
            wait_for_request(folder)
        server.signal("SIGKILL")
        assert server.ended() == -9
        wait_for("the port", lambda: is_free(server.port))


def test_a_worker_that_never_comes_back_does_not_stay_without_its_supervisor(folder):
    with serving(folder, "-w", "2", "--graceful-timeout", "0.5") as server:
        Asked(server, f"/hold?{folder}")
        pid = wait_for_request(folder)
        server.signal("SIGKILL")
        began = time.monotonic()
        # It has as long as the supervisor would have given it: three times half a second, and two seconds.
        wait_for("its end", lambda: not is_alive(pid), PATIENCE)
        assert time.monotonic() - began > 1.5
        assert server.ended() == -9
        wait_for("the port", lambda: is_free(server.port))


def test_nothing_is_left_of_a_supervisor_that_is_killed_while_its_workers_import(folder):
    work = Folder(folder)
    work.save("lazy.py", "import time\nopen('here', 'w').close()\ntime.sleep(60)\n" + app("never"))
    server = start(["--port", "0", "-w", "2", "lazy:app"], folder)
    try:
        wait_for("the import", (folder / "here").exists)
        server.signal("SIGKILL")
        server.ended()
    finally:
        server.end()


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
@pytest.mark.parametrize("how", ["fork", "os.fork", "subprocess"])
def test_a_child_of_the_application_is_terminated_and_the_server_is_not(folder, arguments, how):
    with serving(folder, *arguments) as server:
        for _ in range(5):
            assert server.json(f"/child?{how}")["ended by"] == -15
        assert len({server.json()["pid"] for _ in range(5)}) <= 2
        assert "died" not in server.log() and "Traceback" not in server.log()
        server.interrupt()
        assert server.ended() == 0


@pytest.mark.parametrize("arguments", [[], ["-w", "2"], ["-r"]])
def test_a_server_that_the_application_starts_is_one_of_its_own(folder, arguments):
    with serving(folder, *arguments) as server:
        assert server.json(f"/server?{folder}/socket")["said"].strip() == "answered"
