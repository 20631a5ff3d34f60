"""``WSGIRequestHandler``: what users can customise between the server and the application."""

import time
from typing import Any, Optional, Union

from . import _amboss


class WSGIRequestHandler:
    """The handler of one request. To change the environ or the log, pass a subclass as ``request_handler``.

    Without such a class the server does all of this itself, and faster. Only the methods below are called: the server
    reads requests and writes responses itself, so overriding others of Werkzeug's, such as ``run_wsgi`` and
    ``send_response``, has no effect.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.command: str = environ["REQUEST_METHOD"]
        self.path: str = environ["REQUEST_URI"]
        self.request_version: str = environ["SERVER_PROTOCOL"]
        self.requestline: str = f"{self.command} {self.path} {self.request_version}"
        self.client_address: tuple[str, int] = (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"]))

    @classmethod
    def _for_environ(cls, environ: dict[str, Any]) -> "WSGIRequestHandler":
        return cls(environ)

    #: The value of the ``Server`` header; empty for none. A subclass sets it for all its requests.
    server_version: str = f"amboss/{_amboss.__version__}"

    def version_string(self) -> str:
        """Returns the value of the ``Server`` header. Called once, on an object without a request."""
        return self.server_version

    @classmethod
    def _server_version(cls) -> str:
        version = cls.__new__(cls).version_string().strip()
        if not (version.isascii() and version.isprintable()):
            raise ValueError(f"server_version must be printable ASCII, not {version!r}")
        return version

    def make_environ(self) -> dict[str, Any]:
        """Returns the environ for the application."""
        return self.environ

    def address_string(self) -> str:
        """Returns the client's address for the log."""
        return self.client_address[0]

    def port_integer(self) -> int:
        """Returns the client's port."""
        return self.client_address[1]

    def log_date_time_string(self) -> str:
        """Returns the current time in the format of the log."""
        return time.strftime("%d/%b/%Y %H:%M:%S")

    def log_request(self, code: Union[int, str] = "-", size: Union[int, str] = "-") -> None:
        """Logs a request. Called after the response has been sent, with its status and body size in bytes."""
        line = "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in self.requestline)
        self.log("info", '"%s" %s %s', line, code, size)

    def log_error(self, format: str, *args: Any) -> None:
        """Logs an error."""
        self.log("error", format, *args)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs a message that is not an error."""
        self.log("info", format, *args)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Writes a line to the server's log. All other methods log through this one."""
        text = message % args if args else message
        errors: Optional[Any] = self.environ.get("wsgi.errors")
        if errors is not None:
            errors.write(f"{self.address_string()} - - [{self.log_date_time_string()}] {text}\n")
