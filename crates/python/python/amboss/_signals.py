"""What signals do to a process of the command: CTRL+C and TERM stop it, USR1 reopens its log, HUP also reads its
certificate again."""

import os
import signal
import threading
from typing import Any, Callable, Dict, List

Action = Callable[[], None]
#: Is told whether the server is to outlive its terminal.
HangUp = Callable[[bool], None]


def note_until_served() -> None:
    """HUP and USR1 end nothing while the application is being imported: :func:`follow` does what they ask for."""
    # In a copy of a process: what that one has noted was not said to this one.
    _noted.clear()
    for number in (signal.SIGHUP, signal.SIGUSR1):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _note)


def _note(number: int, _: Any) -> None:
    _noted.append(number)


_noted: List[int] = []


def follow(stop: Action, reopen: Action, hang_up: HangUp, supervised: bool) -> None:
    """From now on TERM stops gracefully, and so does CTRL+C, unless a supervisor sees to that."""
    signal.signal(signal.SIGTERM, lambda *_: stop())
    # Whoever has it ignored (``nohup``) wants the server to outlive the terminal.
    stays = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    # A supervisor replaces the code; of HUP to one of its processes it learns there.
    if not (supervised and stays):
        signal.signal(signal.SIGHUP, lambda *_: hang_up(stays))
    # Also without a log file: who rotates the logs of all services must not end this one.
    signal.signal(signal.SIGUSR1, lambda *_: reopen())
    if supervised:
        leave_interrupts()
    else:
        take_interrupts()
    _when_forked(_forget)
    while _noted:
        signal.raise_signal(_noted.pop(0))


def leave_interrupts() -> None:
    """CTRL+C is somebody else's affair. Not ignored: programs started from here would inherit that."""
    signal.signal(signal.SIGINT, _nothing)


def notice_ends_of_children() -> None:
    """SIGCHLD is not ignored: a shell with ``trap '' CHLD`` passes that on, and then nobody learns how a process ended."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def take_interrupts() -> None:
    """CTRL+C is a KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def follow_in_script(stop: Action, hang_up: HangUp) -> None:
    """TERM stops a script's server gracefully, too, and HUP and USR1 don't end it, if the script has no plans of its own for
    them."""
    if threading.current_thread() is not threading.main_thread():
        return
    acts = ((signal.SIGTERM, stop), (signal.SIGHUP, lambda: hang_up(False)), (signal.SIGUSR1, _nothing))
    for number, act in acts:
        if signal.getsignal(number) == signal.SIG_DFL:
            _ours[number] = _handler(act)
            signal.signal(number, _ours[number])
    if _ours:
        _when_forked(forget_in_script)


def forget_in_script() -> None:
    """The server has stopped, or is another process: the signals are again what they were."""
    for number, handler in _ours.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    _ours.clear()


def _handler(act: Action) -> Callable[..., None]:
    return lambda *_: act()


#: The handlers of a script's server, by signal.
_ours: Dict[int, Callable[..., None]] = {}


def _when_forked(forget: Action) -> None:
    """In a process that is forked, ``forget`` is called first.

    A TERM or HUP that comes before waits: Python drops whatever it has noted by then, and who sent it waits for ever.
    """

    blocked = threading.local()

    def before() -> None:
        blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked.before)

    def in_child() -> None:
        forget()
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


def fork() -> int:
    """Forks a process that answers one request: signals that stop a server are its parent's affair, whoever sends them to
    all of its processes. What the application forks or starts in its turn has the usual ones."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        pid = os.fork()
        if pid == 0:
            for number in numbers:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, _nothing)
            _when_forked(_forget)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _nothing(*_: Any) -> None:
    pass


def _forget() -> None:
    # A process that the application forks is not the server, and dies of TERM.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_copy(code: int) -> None:
    """Ends a forked process as the interpreter's end would, but for what belongs to the process it was forked from."""
    from ._respawn import end_interpreter

    end_interpreter()
    os._exit(code)
