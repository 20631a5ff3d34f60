"""Drives a server that is the guest of gevent's or eventlet's hub: each request runs in a greenlet of its own.

The server is polled in the hub, which it never blocks, and hands out the requests that are complete. A greenlet calls the
application and writes its blocks. Where a client is slow, the greenlet waits in the hub, and a later poll resumes it. All
Python code of the application runs in frames of this module, with no Rust code below that a switch would move away.
"""

import os
import signal
import sys
import time
import traceback
from typing import Any, Callable, Optional

from . import _amboss, _hubs

#: The longest time between two polls in seconds, for timers that must not run forever.
_LONGEST = 3600.0


class Driver:
    """The driver of one server."""

    def __init__(self, guest: "_amboss.Guest") -> None:
        self.guest = guest
        #: The process that serves.
        self.process = 0
        self._hub = _hubs.hub_of(guest.library)
        self._current = _hubs.current_greenlet()
        #: The greenlets that wait, by their requests.
        self._waiting: dict[_amboss.Task, list[Any]] = {}
        #: Requests that were resumed before their greenlets began to wait.
        self._resumed: set[_amboss.Task] = set()
        self._is_scheduled = False
        self._is_over = False
        self._due = float("inf")
        self._cancel_timer: Optional[Callable[[], None]] = None
        self._cancel_beat: Optional[Callable[[], None]] = None
        self._running = 0
        #: Whether the time after which `serve` returns is over.
        self._is_late = False
        #: Whether requests have had their time to end after the server has stopped.
        self._is_expired = False
        self._cancel_deadline: Optional[Callable[[], None]] = None
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
        self._caller, self._wanted, self._is_late = self._current(), requests, False
        self.process = os.getpid()
        beat = self.guest.begin(_thread_key())
        if beat is not None:
            self._beat(beat)
        self._hub.watch(self.guest.fileno(), self._poll)
        self._is_scheduled = False
        cancel_deadline = None if timeout is None else self._hub.call_later(timeout, self._time_is_over)
        self._schedule()
        try:
            while self._failure is None and not (self._is_over and self._running == 0):
                if self._is_expired or self._has_served_all() or (self._is_late and self._running == 0):
                    break
                self._hub.switch()
        finally:
            self._hub.close()
            for cancel in (self._cancel_timer, self._cancel_beat, self._cancel_deadline, cancel_deadline):
                if cancel is not None:
                    cancel()
        if self._failure is not None:
            raise self._failure
        served = self._served if requests is None else min(self._served, requests)
        # Requests that were answered beside the ones that were asked for count for the next call.
        self._served -= served
        return served

    def _has_served_all(self) -> bool:
        return self._wanted is not None and self._served >= self._wanted and not self.guest.is_pending()

    # In the hub

    def _beat(self, interval: float) -> None:
        self.guest.beat()
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
        has_more = True
        while has_more:
            # Tested for each poll: the greenlet that the last one started may have forked this process.
            if os.getpid() != self.process:
                # This process has nothing of the server.
                self._hub.close()
                return
            try:
                arrived, resumed, logs, timeout, has_more, self._is_over = self.guest.poll()
            except BaseException as error:
                self._failure = error
                self._resume_caller()
                return
            for task in arrived:
                self._running += 1
                self._hub.start(self._handle, task)
            for entry in logs:
                self._hub.start(self._log_request, entry)
            for task in resumed:
                self._resume(task)
        if timeout is not None:
            self._set_timer(timeout)
        if self._is_over:
            # The application may still close its results.
            self._cancel_deadline = self._hub.call_later(self.guest.graceful_timeout, self._expire)
        if self._is_over or self._has_served_all() or (self._is_late and self._running == 0):
            self._hub.call_soon(self._resume_caller)

    def _resume(self, task: "_amboss.Task") -> None:
        """Resumes the greenlets that wait for a request, or remembers that for one that begins to wait."""
        greenlets = self._waiting.get(task)
        if greenlets is None:
            self._resumed.add(task)
        else:
            # What the event was is found out by each of them.
            for greenlet in list(greenlets):
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

    def _expire(self) -> None:
        self._is_expired = True
        self._resume_caller()

    def _time_is_over(self) -> None:
        self._is_late = True
        self._resume_caller()

    def _resume_caller(self) -> None:
        self._caller.switch()

    # In the greenlet of a request

    def wait(self, task: "_amboss.Task") -> None:
        """Waits until the request can continue. May return too early."""
        if task in self._resumed:
            self._resumed.discard(task)
            return
        own = self._current()
        greenlets = self._waiting.setdefault(task, [])
        greenlets.append(own)
        try:
            self._hub.switch()
        finally:
            # An exception, such as that of a timeout, may have been thrown into this greenlet instead.
            greenlets.remove(own)
            if not greenlets and self._waiting.get(task) is greenlets:
                del self._waiting[task]

    def _wait_until_ready(self, task: "_amboss.Task") -> None:
        while not task.is_ready():
            self.wait(task)

    def _handle(self, task: "_amboss.Task") -> None:
        app, environ, has_body, handler_class = task.open()
        try:
            self._answer(task, app, environ, has_body, handler_class)
        except BaseException as error:
            self._fail(task, error)
        finally:
            _end_sockets(environ)
            self._resumed.discard(task)
            if task in self._waiting:
                # Another greenlet waits for the same request, and learns now that it is over.
                self._hub.call_soon(lambda: self._resume(task))
            self._running -= 1
            self._served += 1
            if not self._is_over:
                self._schedule()
            elif self._running == 0:
                self._hub.call_soon(self._resume_caller)

    def _answer(
        self, task: "_amboss.Task", app: Any, environ: dict[str, Any], has_body: bool, handler_class: Any
    ) -> None:
        if has_body:
            environ["wsgi.input"] = Input(self, task)
        if handler_class is not None:
            handler = None
            try:
                handler = handler_class._for_environ(environ)
                environ = handler.make_environ()
            finally:
                task.set_handler(handler)

        def write(block: bytes) -> None:
            if task.write(block) is False:
                self._wait_until_ready(task)

        def start_response(status: Any, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
            task.begin(status, headers, exc_info)
            return write

        try:
            result = app(environ, start_response)
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
                    self._wait_until_ready(task)
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
                _close(task, result)
                task.finish(last)
                return
            for block in blocks:
                progress = task.write(block, True)
                if progress is False:
                    self._wait_until_ready(task)
                elif progress is None:
                    break
            task.finish(at_once=True)
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
        if self.guest.use_debugger:
            from . import _failure

            report = _failure.collect(error, trace)
        try:
            task.fail(error, text, report)
        except RuntimeError:
            # The response has ended already.
            task.log_error(text)
        except Exception:
            task.fail(error, type(error).__name__)

    def _log_request(self, entry: tuple[Any, int, int]) -> None:
        handler, status, size = entry
        try:
            handler.log_request(status, size)
        except Exception as error:
            self.guest.log_error(f"error in log_request: {_format(error)}")


class Input:
    """``wsgi.input``: the request body. Waits in the hub for what has not arrived.

    What has arrived stays when a wait is interrupted, as by a timeout, and is returned by the next read.
    """

    #: The number of bytes that are read at once.
    _READ = 64 * 1024

    def __init__(self, driver: Driver, task: "_amboss.Task") -> None:
        self._driver = driver
        self._task = task
        self._arrived = bytearray()

    def read(self, size: Optional[int] = None, /) -> bytes:
        """Reads up to ``size`` bytes, by default all that are left."""
        size = _size(size)
        while (size is None or len(self._arrived) < size) and self._receive():
            pass
        return self._take(len(self._arrived) if size is None else size)

    def readline(self, size: Optional[int] = None, /) -> bytes:
        """Reads a line including its line feed, or up to ``size`` bytes of it."""
        size = _size(size)
        searched = 0
        while True:
            end = self._arrived.find(b"\n", searched, size)
            if end >= 0:
                return self._take(end + 1)
            searched = len(self._arrived)
            if size is not None and searched >= size:
                return self._take(size)
            if not self._receive():
                return self._take(searched)

    def readlines(self, hint: Optional[int] = None, /) -> list[bytes]:
        """Reads all lines, or lines until their total length reaches ``hint`` bytes."""
        hint, total, lines = _size(hint) or None, 0, []
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and total >= hint:
                break
        return lines

    def __iter__(self) -> "Input":
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _receive(self) -> bool:
        """Receives some bytes; returns False at the end of the body."""
        while True:
            data = self._task.read(self._READ)
            if data is not None:
                self._arrived += data
                return bool(data)
            self._driver.wait(self._task)

    def _take(self, size: int) -> bytes:
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data


def _size(size: Optional[int]) -> Optional[int]:
    """Converts a size argument; ``None`` and negative numbers mean everything."""
    if size is None:
        return None
    if not isinstance(size, int):
        raise TypeError(f"a size must be an int or None, not {type(size).__name__}")
    return None if size < 0 else size


def _end_sockets(environ: dict[str, Any]) -> None:
    """Ends ``werkzeug.socket``, which is valid only during its request."""
    socket = environ.get("werkzeug.socket")
    end_task = getattr(type(socket), "end_task", None)
    if end_task is not None:
        for one in end_task(socket):
            one._end()


def _thread_key() -> int:
    """Returns the key of this thread in ``sys._current_frames()``; the libraries replace ``threading.get_ident``."""
    own = sys._getframe()
    return next(key for key, frame in sys._current_frames().items() if frame is own)


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        # The exception's own methods raise.
        return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__


def _close(task: "_amboss.Task", result: Any) -> None:
    """Calls ``close()`` of a result whose response can't be changed any more."""
    try:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        task.log_error(f"error in the response's close(): {_format(error)}")


def serve(driver: Driver, exits: bool) -> None:
    """Serves until the server has stopped. The first CTRL+C lets the running requests finish.

    :param exits: whether a second CTRL+C ends the process; otherwise it raises KeyboardInterrupt
    """

    guest = driver.guest

    def interrupt(*_: Any) -> None:
        if guest.is_stopping:
            if exits:
                sys.stdout.flush()
                os._exit(130)
            raise KeyboardInterrupt
        guest.shutdown()
        sys.stderr.write("Stopping when the running requests are done; press CTRL+C again to stop at once.\n")

    handles = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if handles:
            signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        # This is not the main thread. The libraries replace what `threading` knows about that.
        handles = False
    try:
        driver.serve()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        guest.log_error(f"the server ends, because {type(error).__name__} was raised in {guest.library}'s hub: {error}")
        raise
    finally:
        if handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.getpid() == driver.process:
            guest.finish()
