"""Refuses programs whose threads gevent or eventlet has replaced, because requests would hang in them."""

import sys
from typing import Optional


def refusal() -> Optional[str]:
    """Returns why this program can't be served; ``None`` if it can.

    With ``threading`` replaced, waiting for a lock that one of the server's threads holds runs a scheduler that does
    not know these threads, and never returns.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _message("gevent (gevent.monkey.patch_all)", "gunicorn -k gevent")
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return _message("eventlet (eventlet.monkey_patch)", "gunicorn -k eventlet")
    return None


def _message(patched_by: str, alternative: str) -> str:
    return (
        f"Python's threads were replaced by {patched_by}, and requests would hang in amboss's threads;"
        f" remove that call, or serve the application with {alternative}"
    )
