"""``WSGIRequestHandler``: what a user can change between server and application."""

import time
from typing import Any, Dict, Optional, Tuple, Union

from . import _amboss


class WSGIRequestHandler:
    """One for each request. Subclass it to change the environ or the log, and pass the class as ``request_handler``.

    The server does all of this by itself, and faster, as long as nobody passes a class.
    """

    def __init__(self, environ: Dict[str, Any]) -> None:
        self.environ = environ
        self.command: str = environ["REQUEST_METHOD"]
        self.path: str = environ["REQUEST_URI"]
        self.request_version: str = environ["SERVER_PROTOCOL"]
        self.requestline: str = f"{self.command} {self.path} {self.request_version}"
        self.client_address: Tuple[str, int] = (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"]))

    @classmethod
    def _of(cls, environ: Dict[str, Any]) -> "WSGIRequestHandler":
        return cls(environ)

    @property
    def server_version(self) -> str:
        """The value of the ``Server`` header."""
        return f"amboss/{_amboss.__version__}"

    def make_environ(self) -> Dict[str, Any]:
        """The environ that the application is called with."""
        return self.environ

    def address_string(self) -> str:
        """The client, as the log names it."""
        return self.client_address[0]

    def port_integer(self) -> int:
        """The client's port."""
        return self.client_address[1]

    def log_date_time_string(self) -> str:
        """Now, as the log writes it."""
        return time.strftime("%d/%b/%Y %H:%M:%S")

    def log_request(self, code: Union[int, str] = "-", size: Union[int, str] = "-") -> None:
        """Called when the answer is out, with its status and the bytes of its body."""
        line = "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in self.requestline)
        self.log("info", '"%s" %s %s', line, code, size)

    def log_error(self, format: str, *args: Any) -> None:
        """Logs an error."""
        self.log("error", format, *args)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs something else."""
        self.log("info", format, *args)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Writes a line to the server's log; everything logged here comes through this."""
        text = message % args if args else message
        errors: Optional[Any] = self.environ.get("wsgi.errors")
        if errors is not None:
            errors.write(f"{self.address_string()} - - [{self.log_date_time_string()}] {text}\n")
