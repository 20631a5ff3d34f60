"""Drives a server that is the guest of gevent's or eventlet's hub: each request runs in a greenlet of its own.

The server is polled in the hub, which it never blocks, and hands out the requests that are complete. A greenlet calls the
application and writes its blocks. Where a client is slow, the greenlet waits in the hub, and a later poll resumes it. All
Python code of the application runs in frames of this module, with no Rust code below that a switch would move away.
"""

import io
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, Callable, Optional

from . import _amboss, _hubs

#: The longest time between two polls in seconds, for timers that must not run forever.
_LONGEST = 3600.0


class Driver:
    """The driver of one server."""

    def __init__(self, guest: "_amboss.Guest") -> None:
        self._guest = guest
        self._hub = _hubs.hub_of(guest.library)
        self._current = _hubs.current_greenlet
        #: The greenlets that wait, by their requests.
        self._waiting: dict[_amboss.Task, Any] = {}
        #: Requests that were resumed before their greenlets began to wait.
        self._resumed: set[_amboss.Task] = set()
        self._is_scheduled = False
        self._is_over = False
        self._due = float("inf")
        self._cancel_timer: Optional[Callable[[], None]] = None
        self._cancel_beat: Optional[Callable[[], None]] = None
        self._running = 0
        self._served = 0
        #: The number of requests after which `serve` returns.
        self._wanted: Optional[int] = None
        #: The greenlet that has called `serve`.
        self._caller: Any = None
        self._failure: Optional[BaseException] = None

    def serve(self, requests: Optional[int] = None, timeout: Optional[float] = None) -> int:
        """Serves until the server has stopped.

        :param requests: the number of requests after which to return
        :param timeout: the time in seconds after which to return if no request runs
        :return: the number of requests that were served
        """
        self._caller, self._wanted = self._current(), requests
        beat = self._guest.begin()
        if beat is not None:
            self._beat(beat)
        self._hub.watch(self._guest.fileno(), self._poll)
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        cancel_deadline = None if timeout is None else self._hub.call_later(timeout, self._resume_caller)
        self._schedule()
        try:
            while not self._is_over and self._failure is None:
                if self._has_served_all() or self._running == 0 and time.monotonic() >= deadline:
                    break
                self._hub.switch()
        finally:
            self._hub.close()
            for cancel in (self._cancel_timer, self._cancel_beat, cancel_deadline):
                if cancel is not None:
                    cancel()
        if self._failure is not None:
            raise self._failure
        return self._served

    def _has_served_all(self) -> bool:
        return self._wanted is not None and self._served >= self._wanted and not self._guest.is_pending()

    # In the hub

    def _beat(self, interval: float) -> None:
        self._guest.beat()
        self._cancel_beat = self._hub.call_later(interval, lambda: self._beat(interval))

    def _schedule(self) -> None:
        """Polls after the greenlets that are ready to run, so that their responses are written together."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._hub.call_soon(self._poll_scheduled)

    def _poll_scheduled(self) -> None:
        self._is_scheduled = False
        self._poll()

    def _poll(self) -> None:
        if self._is_over or self._failure is not None:
            return
        try:
            arrived, resumed, logs, timeout, self._is_over = self._guest.poll()
        except BaseException as error:
            self._failure = error
            self._resume_caller()
            return
        for task in arrived:
            self._running += 1
            self._hub.spawn(self._handle, task)
        for entry in logs:
            self._hub.spawn(_log_request, entry)
        if timeout is not None:
            self._set_timer(timeout)
        if self._is_over or self._has_served_all():
            self._hub.call_soon(self._resume_caller)
        for task in resumed:
            greenlet = self._waiting.get(task)
            if greenlet is None:
                self._resumed.add(task)
            else:
                greenlet.switch()

    def _set_timer(self, timeout: float) -> None:
        """Polls after this time, unless that happens earlier in any case."""
        if timeout <= 0:
            self._schedule()
            return
        due = time.monotonic() + timeout
        if due >= self._due:
            return
        if self._cancel_timer is not None:
            self._cancel_timer()
        self._due = due
        self._cancel_timer = self._hub.call_later(min(timeout, _LONGEST), self._timer_is_due)

    def _timer_is_due(self) -> None:
        self._due, self._cancel_timer = float("inf"), None
        self._poll()

    def _resume_caller(self) -> None:
        self._caller.switch()

    # In the greenlet of a request

    def wait(self, task: "_amboss.Task") -> None:
        """Waits until the request can continue. May return too early."""
        if task in self._resumed:
            self._resumed.discard(task)
            return
        self._waiting[task] = self._current()
        try:
            self._hub.switch()
        finally:
            # An exception, such as that of a timeout, may have been thrown into this greenlet instead.
            del self._waiting[task]

    def _handle(self, task: "_amboss.Task") -> None:
        try:
            self._answer(task)
        except BaseException as error:
            self._fail(task, error)
        finally:
            self._end_sockets(task)
            self._resumed.discard(task)
            self._running -= 1
            self._served += 1
            if not self._is_scheduled and not self._is_over and self._guest.is_pending():
                self._schedule()

    def _answer(self, task: "_amboss.Task") -> None:
        environ = task.environ
        if task.has_body:
            environ["wsgi.input"] = io.BufferedReader(_Input(self, task), _Input.READ)
        handler_class = task.handler_class
        if handler_class is not None:
            handler = None
            try:
                handler = handler_class._for_environ(environ)
                environ = handler.make_environ()
            finally:
                task.set_handler(handler)

        def write(block: bytes) -> None:
            if task.write(block) is False:
                self.wait(task)

        def start_response(status: Any, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
            task.begin(status, headers, exc_info)
            return write

        try:
            result = task.app(environ, start_response)
        except ConnectionError:
            # Frameworks raise it to say that nothing more is to be sent.
            if not task.is_hijacked:
                raise
            task.finish()
            return
        if task.is_hijacked:
            task.finish()
            _close(task, result)
            return
        kind = type(result)
        if (kind is list or kind is tuple) and task.finish_with(result):
            return
        self._send(task, result, kind)

    def _send(self, task: "_amboss.Task", result: Any, kind: type) -> None:
        """Sends the blocks of an iterable, and closes it."""
        is_closed = False
        try:
            if kind is _amboss.FileWrapper:
                sent = task.send_file(result)
                if sent is False:
                    self.wait(task)
                if sent is not None:
                    task.finish(at_once=True)
                    return
            try:
                blocks = iter(result)
            except TypeError:
                if hasattr(result, "__iter__"):
                    raise
                raise task.not_iterable(result) from None
            if task.is_single_block(result):
                last = next((block for block in blocks if block), b"")
                is_closed = True
                _call_close(result)
                task.finish(last)
                return
            for block in blocks:
                progress = task.write(block)
                if progress is False:
                    self.wait(task)
                elif progress is None:
                    break
            task.finish(at_once=True)
        except BaseException:
            if not is_closed:
                is_closed = True
                _close(task, result)
            raise
        finally:
            if not is_closed:
                _close(task, result)

    def _fail(self, task: "_amboss.Task", error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error = error.with_traceback(trace)
        text = _format(error)
        report = None
        if self._guest.use_debugger:
            from . import _failure

            report = _failure.collect(error, trace)
        try:
            task.fail(error, text, report)
        except RuntimeError:
            # The response has ended already.
            task.log_error(text)

    def _end_sockets(self, task: "_amboss.Task") -> None:
        socket = task.environ.get("werkzeug.socket") if task.environ is not None else None
        end_task = getattr(type(socket), "end_task", None)
        if end_task is not None:
            for one in socket.end_task():
                one._end()


class _Input(io.RawIOBase):
    """The request body, as far as it has arrived; waits for more in the hub."""

    #: The number of bytes that are read at once.
    READ = 64 * 1024

    def __init__(self, driver: Driver, task: "_amboss.Task") -> None:
        self._driver = driver
        self._task = task

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            data = self._task.read(len(buffer))
            if data is not None:
                buffer[: len(data)] = data
                return len(data)
            self._driver.wait(self._task)


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        # The exception's own methods raise.
        return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__


def _call_close(result: Any) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()


def _close(task: "_amboss.Task", result: Any) -> None:
    """Calls ``close()`` of a result whose response can't be changed any more."""
    try:
        _call_close(result)
    except BaseException as error:
        task.log_error(f"error in the response's close(): {_format(error)}")


def _log_request(entry: Any) -> None:
    handler, status, size = entry
    try:
        handler.log_request(status, size)
    except Exception:
        sys.stderr.write(f"error in log_request: {traceback.format_exc()}")


def serve(guest: "_amboss.Guest", exits: bool) -> None:
    """Serves until the server has stopped. The first CTRL+C lets the running requests finish.

    :param exits: whether a second CTRL+C ends the process; otherwise it raises KeyboardInterrupt
    """
    driver = Driver(guest)
    is_main = threading.current_thread() is threading.main_thread()
    handles = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def interrupt(*_: Any) -> None:
        if guest.is_stopping:
            if exits:
                sys.stdout.flush()
                os._exit(130)
            raise KeyboardInterrupt
        guest.shutdown()
        sys.stderr.write("Stopping when the running requests are done; press CTRL+C again to stop at once.\n")

    if handles:
        signal.signal(signal.SIGINT, interrupt)
    try:
        driver.serve()
    finally:
        if handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        guest.finish()
