"""Starts the servers that have no command line: launch.py SERVER PORT MODULE:OBJECT."""

from __future__ import annotations

import importlib
import sys

# For type checkers. Importing typing would add to the memory that is measured.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from wsgiref.types import WSGIApplication


def serve_bjoern(app: WSGIApplication, port: int) -> None:
    import bjoern

    bjoern.run(app, "127.0.0.1", port)


def serve_pywsgi(app: WSGIApplication, port: int) -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", port), app, log=None, backlog=1024).serve_forever()


def serve_amboss(app: WSGIApplication, port: int, kind: str) -> None:
    """Serves over TLS, with the same certificate by rustls (``files``) or by Python's ``ssl`` (``context``)."""
    import ssl

    from amboss import make_ssl_devcert, run_simple

    files = make_ssl_devcert("server", host="localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    run_simple("127.0.0.1", port, app, ssl_context=context if kind == "context" else files, quiet=True)


def serve_werkzeug(app: WSGIApplication, port: int, **options: Any) -> None:
    from werkzeug.serving import WSGIRequestHandler, run_simple

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    run_simple("127.0.0.1", port, app, request_handler=Quiet, threaded=True, **options)


def main() -> None:
    server, port, target = sys.argv[1:]
    if server == "pywsgi":
        from gevent import monkey

        monkey.patch_all()
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    if server == "bjoern":
        serve_bjoern(app, int(port))
    elif server == "pywsgi":
        serve_pywsgi(app, int(port))
    elif server.startswith("amboss-"):
        serve_amboss(app, int(port), server.partition("-")[2])
    elif server == "werkzeug":
        serve_werkzeug(app, int(port))
    else:
        _, _, reloader = server.partition("-")
        serve_werkzeug(app, int(port), use_reloader=True, reloader_type=reloader)


if __name__ == "__main__":
    main()
