"""A WSGI server that starts with one line.

    from amboss import run_simple
    run_simple("localhost", 5000, application)

On the command line: ``amboss myproject:app``. To replace ``werkzeug.serving``, write ``import amboss as serving``.
"""

from . import _child_environment, _startup_report
from ._amboss import ClientDisconnected, FileWrapper, InputError, __version__
from .serving import (
    BaseWSGIServer,
    ForkingWSGIServer,
    ThreadedWSGIServer,
    WSGIRequestHandler,
    is_running_from_reloader,
    make_server,
    make_ssl_devcert,
    run_simple,
)

_child_environment.hide_reloader_variables()
_startup_report.install()

__all__ = [
    "BaseWSGIServer",
    "ClientDisconnected",
    "FileWrapper",
    "ForkingWSGIServer",
    "InputError",
    "ThreadedWSGIServer",
    "WSGIRequestHandler",
    "__version__",
    "is_running_from_reloader",
    "make_server",
    "make_ssl_devcert",
    "run_simple",
]
