"""What signals do to a process of the command: CTRL+C and TERM stop it, USR1 reopens its log."""

import os
import signal
from typing import Any, Callable, Optional


def follow(stop: Callable[[], None], reopen: Optional[Callable[[], None]], supervised: bool) -> None:
    """From now on TERM stops gracefully, and so does CTRL+C, unless a supervisor sees to that."""
    signal.signal(signal.SIGTERM, lambda *_: stop())
    if supervised:
        leave_interrupts()
    else:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if reopen is not None:
        signal.signal(signal.SIGUSR1, lambda *_: reopen())
    os.register_at_fork(after_in_child=_forget)


def leave_interrupts() -> None:
    """CTRL+C is somebody else's affair. Not ignored: programs started from here would inherit that."""
    signal.signal(signal.SIGINT, _nothing)


def _nothing(*_: Any) -> None:
    pass


def _forget() -> None:
    # A process that the application forks is not the server, and dies of TERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
