"""Programs whose threads are green: refused, since requests would hang in them."""

import sys
from typing import Optional


def complaint() -> Optional[str]:
    """Why this program can't be served; ``None`` when it can.

    With ``threading`` replaced, a lock that is held in one of the server's threads is waited for by a scheduler that knows
    nothing of the other threads, for ever.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _sentence("gevent (gevent.monkey.patch_all)", "gunicorn -k gevent")
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return _sentence("eventlet (eventlet.monkey_patch)", "gunicorn -k eventlet")
    return None


def _sentence(by_whom: str, instead: str) -> str:
    return (
        f"Python's threads were replaced by {by_whom}, and requests would hang in amboss's threads; remove that call, or"
        f" serve the application with {instead}"
    )
