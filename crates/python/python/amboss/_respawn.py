"""Restarts this program in the same process: its command line, and the shutdown of the current run before ``exec``."""

import os
import sys
from typing import Optional


def _start_directory() -> Optional[str]:
    """Where the program was started; relative paths on its command line are relative to this directory."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    script = os.sep + os.path.normpath(sys.argv[0] if sys.argv else "")
    if os.path.isabs(main) and main.endswith(script):
        # The program may have changed its working directory since.
        return main[: -len(script)] or os.sep
    try:
        return os.getcwd()
    except OSError:
        return None


#: The directory where the program was started; ``None`` if it is not known.
START_DIRECTORY = _start_directory()


def respawn_command() -> list[str]:
    """Returns the command that starts this program again.

    :raises RuntimeError: if the command line can't be reconstructed
    """
    original = getattr(sys, "orig_argv", None)  # since 3.10
    if original:
        return [sys.executable, *original[1:]]
    if sys.argv[:1] == ["-c"]:
        raise RuntimeError("Python before 3.10 can't restart a program that was given with -c; save it to a file")
    import subprocess

    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        # python -m package, or python -m package.module
        return [sys.executable, *flags, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    return [sys.executable, *flags, *sys.argv]


def shut_down_before_exec() -> None:
    """Shuts the program down as the end of the interpreter would, because another program replaces this process."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        # multiprocessing's exit handler waits for children that are not daemons.
        for child in multiprocessing.active_children():
            child.terminate()
    run_exit_handlers()
    os.environ.pop("AMBOSS_RUN_MAIN", None)
    if START_DIRECTORY is not None:
        os.chdir(START_DIRECTORY)


def run_exit_handlers() -> None:
    """Runs the ``atexit`` handlers and flushes the streams, in a process that will not finalize the interpreter."""
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
