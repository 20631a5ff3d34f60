"""Programs whose blocking functions gevent or eventlet has replaced: their requests run in greenlets."""

import importlib
import sys
from typing import Optional

#: The libraries in whose greenlets requests can run.
LIBRARIES = ("gevent", "eventlet")


def patched_by() -> Optional[str]:
    """Returns the library that has replaced Python's threads in this program; ``None`` if none has."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def patch(library: str) -> None:
    """Replaces Python's blocking functions, before anything else is imported.

    :raises SystemExit: if the library is not installed
    """
    try:
        _import(library)
    except RuntimeError as error:
        print(f"amboss: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if library == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    else:
        importlib.import_module("eventlet").monkey_patch()


def greenlets(worker_class: Optional[str]) -> Optional[str]:
    """Returns the library in whose greenlets requests run: the one that was asked for, or the one that the program uses.

    :return: ``None`` for threads
    :raises RuntimeError: if the library is not installed, or another one has replaced Python's threads
    """
    patched = patched_by()
    wanted = patched if worker_class is None else worker_class
    if wanted == "threads":
        wanted = None
    if patched is not None and wanted != patched:
        raise RuntimeError(
            f"{patched} has replaced Python's threads in this program, and requests would hang elsewhere than in its"
            f" greenlets; use the worker class {patched}, or remove the call that replaces them"
        )
    if wanted is not None:
        _import(wanted)
    return wanted


def _import(library: str) -> None:
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise RuntimeError(
            f"the worker class {library} needs the package {library}: pip install {library} ({error})"
        ) from None
