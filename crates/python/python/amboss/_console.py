"""The console of Werkzeug's debugger in the frames of a traceback, where Werkzeug is installed."""

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any, Callable


def with_console(application: Callable[..., Any], hosts: Iterable[str]) -> Callable[..., Any]:
    """Wraps an application in Werkzeug's debugger, if Werkzeug is installed.

    :param hosts: the names under which the server is reached, besides ``localhost``
    """
    try:
        debug = importlib.import_module("werkzeug.debug")
    except ImportError:
        return application
    debugged = debug.DebuggedApplication(application, evalex=True)
    # Since Werkzeug 3.0.3, the console works only under trusted names. It compares what stands before the first colon.
    if hasattr(debugged, "trusted_hosts"):
        debugged.trusted_hosts += ["[::1]", *(_trusted(host) for host in hosts)]
    # Under a reloader, Werkzeug prints the PIN when it is made.
    if os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        print(f" * Debugger PIN: {debugged.pin or 'disabled'}", file=sys.stderr)
    wrapped: Callable[..., Any] = debugged
    return wrapped


def _trusted(host: str) -> str:
    if host.startswith("*."):
        return host[1:]
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
