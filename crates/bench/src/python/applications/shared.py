"""The applications with Werkzeug's middleware for static files."""

import computing
import raw
from werkzeug.middleware.shared_data import SharedDataMiddleware

hello = SharedDataMiddleware(raw.hello, {"/static": "static"})
total = SharedDataMiddleware(computing.app, {"/static": "static"})
