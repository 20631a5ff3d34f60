"""Signal handlers: CTRL+C and TERM stop the server, USR1 reopens its log, HUP also reloads its certificate."""

import os
import signal
import threading
from typing import Any, Callable

Action = Callable[[], None]
#: Takes whether the server must outlive its terminal.
HangUp = Callable[[bool], None]

#: HUP and USR1 signals that arrived before the handlers were installed.
_deferred: list[int] = []

#: The handlers installed in a script, by signal.
_script_handlers: dict[int, Callable[..., None]] = {}


def defer_until_installed() -> None:
    """Defers HUP and USR1 while the application is imported, instead of dying of them.

    :func:`install` raises them again.
    """
    # A forked process must not act on signals that its parent has deferred.
    _deferred.clear()
    for number in (signal.SIGHUP, signal.SIGUSR1):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _defer)


def _defer(number: int, _: Any) -> None:
    _deferred.append(number)


def install(stop: Action, reopen: Action, hang_up: HangUp, supervised: bool) -> None:
    """Installs the handlers of the command.

    TERM stops the server gracefully. So does CTRL+C, unless a supervisor handles it.
    """
    signal.signal(signal.SIGTERM, lambda *_: stop())
    # If HUP is ignored (``nohup``), the user wants the server to outlive the terminal.
    outlives_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    # HUP asks for new code. Only a supervisor can replace it, so a supervised process forwards a HUP that it receives.
    if not (supervised and outlives_terminal):
        signal.signal(signal.SIGHUP, lambda *_: hang_up(outlives_terminal))
    # Installed even without a log file: a logrotate script that signals all services must not end this one.
    signal.signal(signal.SIGUSR1, lambda *_: reopen())
    if supervised:
        discard_interrupts()
    else:
        raise_interrupts()
    _call_in_forked_children(_restore_defaults)
    while _deferred:
        signal.raise_signal(_deferred.pop(0))


def discard_interrupts() -> None:
    """Makes CTRL+C do nothing, because another process handles it. SIG_IGN would be inherited by started programs."""
    signal.signal(signal.SIGINT, _do_nothing)


def raise_interrupts() -> None:
    """Makes CTRL+C raise KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def restore_sigchld() -> None:
    """Stops ignoring SIGCHLD, because the exit codes of children would be lost.

    A shell with ``trap '' CHLD`` starts its programs with SIGCHLD ignored.
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def install_in_script(stop: Action, hang_up: HangUp) -> None:
    """Installs the handlers of a script that calls ``run_simple``, for signals for which the script has no handler.

    TERM stops the server gracefully, and HUP and USR1 don't end it.
    """
    actions = ((signal.SIGTERM, stop), (signal.SIGHUP, lambda: hang_up(False)), (signal.SIGUSR1, _do_nothing))
    for number, action in actions:
        if signal.getsignal(number) == signal.SIG_DFL:
            handler = _handler(action)
            try:
                signal.signal(number, handler)
            except ValueError:
                # This is not the main thread. `threading` does not know that if eventlet has replaced it.
                return
            _script_handlers[number] = handler
    if _script_handlers:
        _call_in_forked_children(uninstall_in_script)


def uninstall_in_script() -> None:
    """Restores the signals' previous handlers, after the server has stopped or in a forked process."""
    for number, handler in _script_handlers.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    _script_handlers.clear()


def _handler(action: Action) -> Callable[..., None]:
    return lambda *_: action()


def _call_in_forked_children(function: Action) -> None:
    """Calls ``function`` first in every process that is forked from now on.

    TERM and HUP are blocked until then. Otherwise Python, which drops pending signals in a forked child, would lose one
    that arrives earlier, and its sender would wait forever.
    """

    blocked = threading.local()

    def before() -> None:
        blocked.previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked.previous)

    def in_child() -> None:
        function()
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


def fork() -> int:
    """Forks a process that answers one request.

    Signals that stop a server have no effect on it, because its parent handles them, even if they are sent to the whole
    process group. Processes that the application starts have the default handlers.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        pid = os.fork()
        if pid == 0:
            for number in numbers:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, _do_nothing)
            _call_in_forked_children(_restore_defaults)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    return pid


def _do_nothing(*_: Any) -> None:
    pass


def _restore_defaults() -> None:
    # A process that the application forks is not a server, and TERM must end it.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_worker(code: int) -> None:
    """Ends a forked worker as the interpreter would, but without finalizing what belongs to its parent."""
    from ._respawn import run_exit_handlers

    run_exit_handlers()
    os._exit(code)
