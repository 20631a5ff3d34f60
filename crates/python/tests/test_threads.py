"""Which threads run an application, how many at once, and when they end."""

import os
import threading
import time
from pathlib import Path

import amboss
import pytest

from conftest import RunningServer
from waiting import TIMEOUT, wait_until

PLAIN = [("Content-Type", "text/plain")]


class Counting:
    """Counts how many requests run at once."""

    def __init__(self, block=0.002):
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.block = block

    def __enter__(self):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.block)

    def __exit__(self, *_):
        with self.lock:
            self.running -= 1


@pytest.mark.parametrize("options", [{"threads": 1}, {"threaded": False}])
@pytest.mark.parametrize("streamed", [False, True])
def test_one_thread_never_runs_two_requests_at_once(serve, options, streamed):
    counting = Counting()

    def app(environ, start_response):
        with counting:
            start_response("200 OK", PLAIN)
        if streamed:
            return blocks()
        return [b"done"]

    def blocks():
        for block in (b"do", b"ne"):
            with counting:
                pass
            yield block

    served = serve(app, **options)
    clients = [served.client() for _ in range(8)]
    for _ in range(5):
        for client in clients:
            client.request()
        for client in clients:
            assert client.read_response().body == b"done"
    assert counting.most == 1


def test_threads_limits_how_many_requests_run_at_once(serve):
    counting = Counting()
    # If fewer requests ran at once, the barrier would never open.
    together = threading.Barrier(3)

    def app(environ, start_response):
        with counting:
            together.wait(TIMEOUT)
            start_response("200 OK", PLAIN)
        return [b"done"]

    served = serve(app, threads=3)
    clients = [served.client().request() for _ in range(12)]
    for client in clients:
        assert client.read_response().body == b"done"
    assert counting.most == 3


def test_requests_run_concurrently(serve):
    together = threading.Barrier(4)

    def app(environ, start_response):
        together.wait(TIMEOUT)
        start_response("200 OK", PLAIN)
        return [b"together"]

    served = serve(app)
    clients = [served.client().request() for _ in range(4)]
    assert [client.read_response().body for client in clients] == [b"together"] * 4


def test_a_slow_request_does_not_delay_fast_ones(serve, gate):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            assert gate.wait()
        start_response("200 OK", PLAIN)
        return [b"done"]

    served = serve(app)
    slow = [served.client().request("/slow") for _ in range(5)]
    client = served.client()
    for _ in range(100):
        assert client.get().body == b"done"
    gate.open()
    assert [one.read_response().body for one in slow] == [b"done"] * 5


def test_thread_local_data_is_kept_between_requests(serve):
    local = threading.local()

    def app(environ, start_response):
        local.count = getattr(local, "count", 0) + 1
        start_response("200 OK", PLAIN)
        return [b"%d %d" % (threading.get_ident(), local.count)]

    served = serve(app, threads=1)
    client = served.client()
    last = {}
    for _ in range(50):
        thread, count = client.get().body.split()
        assert int(count) == last.get(thread, 0) + 1
        last[thread] = int(count)
    # One runs the application, one leads the event loop in the meantime, and one is the monitor thread.
    assert len(last) <= 3


def test_streams_have_their_own_context(serve):
    """Between their blocks, their thread runs other requests, and any thread may produce the next block."""
    import contextvars

    variable = contextvars.ContextVar("variable", default="none")

    def app(environ, start_response):
        name = environ["QUERY_STRING"]
        token = variable.set(name)
        start_response("200 OK", PLAIN)

        def blocks():
            assert variable.get() == name
            for number in range(20):
                inner = variable.set(f"{name} {number}")
                yield b"x" * 1000
                if number % 5 == 0:
                    # Long enough for another thread to take over the event loop.
                    time.sleep(0.005)
                assert variable.get() == f"{name} {number}"
                variable.reset(inner)
            variable.reset(token)
            assert variable.get() == "none"

        return blocks()

    served = serve(app)
    clients = [served.client() for _ in range(6)]
    for _ in range(2):
        for number, client in enumerate(clients):
            client.request(f"/?{number}")
        for client in clients:
            response = client.read_response()
            assert (len(response.body), response.complete) == (20_000, True)


def test_close_runs_in_the_context_of_its_stream(serve):
    import contextvars

    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    def app(environ, start_response):
        token = variable.set("set")
        start_response("200 OK", PLAIN)
        try:
            yield b"one"
            yield b"two"
        finally:
            seen.append(variable.get())
            variable.reset(token)

    served = serve(app)
    assert served.get().body == b"onetwo"
    wait_until(lambda: seen == ["set"])


def test_current_thread_and_context_variables_work(serve):
    import contextvars

    variable = contextvars.ContextVar("variable", default=None)
    names = []

    def app(environ, start_response):
        names.append(threading.current_thread().name)
        assert threading.current_thread() in threading.enumerate()
        variable.set(1)
        assert variable.get() == 1
        start_response("200 OK", PLAIN)
        return [b""]

    client = serve(app).client()
    for _ in range(5):
        assert client.get().status == 200
    assert all(names)


def threads_of_the_process():
    """Returns the number of threads, without the one that all servers of the process share."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return len(names) - names.count("amboss-gil\n")


def test_no_thread_is_left_after_the_server_has_stopped(log):
    if not os.path.exists("/proc/self/task"):
        pytest.skip("there is no /proc here")

    together = threading.Barrier(4)

    def app(environ, start_response):
        together.wait(TIMEOUT)
        start_response("200 OK", PLAIN)
        return [b""]

    before = threads_of_the_process()
    for _ in range(3):
        served = RunningServer(amboss.make_server("127.0.0.1", 0, app))
        clients = [served.client().request() for _ in range(4)]
        assert [client.read_response().status for client in clients] == [200] * 4
        served.stop()
        wait_until(lambda: threads_of_the_process() <= before)


def test_start_response_in_another_thread_after_the_response_is_an_error(serve):
    seen = []
    answered = threading.Event()
    over = threading.Event()

    def app(environ, start_response):
        def later():
            assert answered.wait(TIMEOUT)
            for call in (
                lambda: start_response("200 OK", PLAIN),
                lambda: start_response("200 OK", PLAIN, (ValueError, ValueError("own"), None)),
                lambda: write(b"late"),
                lambda: environ["wsgi.input"].read(1),
                lambda: environ["wsgi.early_hints"]([("Link", "x")]),
            ):
                try:
                    seen.append(call())
                except Exception as error:
                    seen.append(error)
            over.set()

        write = start_response("200 OK", PLAIN)
        if not answered.is_set():
            threading.Thread(target=later).start()
        return [b"done"]

    served = serve(app, validate=False)
    client = served.client()
    assert client.get(method="POST", body=b"x" * 40000).body == b"done"
    answered.set()
    assert over.wait(TIMEOUT)
    assert [type(one) for one in seen] == [RuntimeError, ValueError, RuntimeError, ValueError, RuntimeError]
    assert served.get().body == b"done"


def test_start_response_may_be_called_in_another_thread(serve):
    def app(environ, start_response):
        def start():
            start_response("200 OK", PLAIN)(b"from elsewhere ")

        starter = threading.Thread(target=start)
        starter.start()
        starter.join(TIMEOUT)
        return [b"and from here"]

    assert serve(app, validate=False).get().body == b"from elsewhere and from here"


def test_many_threads_may_work_on_one_request(serve):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)

        def both():
            write(b"x")
            environ["wsgi.input"].read(10)

        helpers = [threading.Thread(target=both) for _ in range(8)]
        for helper in helpers:
            helper.start()
        for helper in helpers:
            helper.join(TIMEOUT)
        return [b"."]

    body = serve(app, validate=False).get(method="POST", body=b"y" * 40000).body
    assert body == b"xxxxxxxx."


def test_idle_connections_occupy_no_thread(serve):
    served = serve(lambda environ, start_response: start_response("200 OK", PLAIN) and [b"done"], validate=False)
    if os.path.exists("/proc/self/task"):
        assert served.get().body == b"done"
        before = threads_of_the_process()
        idle = [served.client() for _ in range(100)]
        for client in idle:
            client.send(b"GET / HTTP/1.1\r\nHost: local")
        assert served.get().body == b"done"
        # Each loop may start one; without the interpreter lock, there are two loops.
        assert threads_of_the_process() <= before + 2
        for client in idle:
            assert client.send(b"host\r\n\r\n").read_response().body == b"done"
