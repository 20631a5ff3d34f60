"""What signals do to a process of the command: CTRL+C and TERM stop it, USR1 reopens its log."""

import os
import signal
import threading
from typing import Any, Callable, Optional


def follow(stop: Callable[[], None], reopen: Optional[Callable[[], None]], supervised: bool) -> None:
    """From now on TERM stops gracefully, and so does CTRL+C, unless a supervisor sees to that."""
    signal.signal(signal.SIGTERM, lambda *_: stop())
    if supervised:
        leave_interrupts()
    else:
        take_interrupts()
    if reopen is not None:
        signal.signal(signal.SIGUSR1, lambda *_: reopen())
    _when_forked(_forget)


def leave_interrupts() -> None:
    """CTRL+C is somebody else's affair. Not ignored: programs started from here would inherit that."""
    signal.signal(signal.SIGINT, _nothing)


def take_interrupts() -> None:
    """CTRL+C is a KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def term_stops(stop: Callable[[], None]) -> None:
    """TERM stops a script's server gracefully, too, if the script has no plans of its own for TERM."""
    global _ours
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    _ours = lambda *_: stop()  # noqa: E731
    signal.signal(signal.SIGTERM, _ours)
    _when_forked(term_kills)


def term_kills() -> None:
    """The server has stopped, or is another process: TERM is again what it was."""
    global _ours
    if _ours is not None and signal.getsignal(signal.SIGTERM) is _ours:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _ours = None


_ours: Optional[Callable[..., None]] = None


def _when_forked(forget: Callable[[], None]) -> None:
    """In a process that is forked, ``forget`` is called first.

    A TERM that comes before waits: Python drops whatever it has noted by then, and who sent it waits for ever.
    """

    blocked = threading.local()

    def before() -> None:
        blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked.before)

    def in_child() -> None:
        forget()
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


def _nothing(*_: Any) -> None:
    pass


def _forget() -> None:
    # A process that the application forks is not the server, and dies of TERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_copy(code: int) -> None:
    """Ends a forked process as the interpreter's end would, but for what belongs to the process it was forked from."""
    from ._again import end_interpreter

    end_interpreter()
    os._exit(code)
