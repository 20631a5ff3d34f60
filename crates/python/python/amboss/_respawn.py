"""The command line that starts this program again, and leaving what it has started so far."""

import os
import sys
from typing import List, Optional


def _folder() -> Optional[str]:
    """Where the program was started: its command line is to be read from there."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    script = os.sep + os.path.normpath(sys.argv[0] if sys.argv else "")
    if os.path.isabs(main) and main.endswith(script):
        # It may have gone elsewhere since.
        return main[: -len(script)] or os.sep
    try:
        return os.getcwd()
    except OSError:
        return None


#: As far as anybody knows.
FOLDER = _folder()


def command() -> List[str]:
    """The words that start this program again.

    :raises RuntimeError: when nobody knows them any more
    """
    original = getattr(sys, "orig_argv", None)  # since 3.10
    if original:
        return [sys.executable, *original[1:]]
    if sys.argv[:1] == ["-c"]:
        raise RuntimeError("a program that is given by -c can't be started again by this Python; save it to a file")
    import subprocess

    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        # python -m package, or python -m package.module
        name = spec.name[: -len(".__main__")] if spec.name.endswith(".__main__") else spec.name
        return [sys.executable, *flags, "-m", name, *sys.argv[1:]]
    return [sys.executable, *flags, *sys.argv]


def leave_everything() -> None:
    """Does what the end of the interpreter would do, short of ending it: another program takes this process over."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        # At the end those that are no daemons would be waited for.
        for child in multiprocessing.active_children():
            child.terminate()
    end_interpreter()
    os.environ.pop("AMBOSS_RUN_MAIN", None)
    if FOLDER is not None:
        os.chdir(FOLDER)


def end_interpreter() -> None:
    """Runs what the interpreter runs at its end, in a process that ends without it."""
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
