"""A server for WSGI applications that is there in one line.

    from amboss import run_simple
    run_simple("localhost", 5000, application)

On the command line: ``amboss myproject:app``. Where ``werkzeug.serving`` was imported, ``import amboss as serving`` will
do.
"""

from . import _startup_report
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

_startup_report.expect()

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
