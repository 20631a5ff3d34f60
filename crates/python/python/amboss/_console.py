"""The console of Werkzeug's debugger in the frames of a traceback, where Werkzeug is installed."""

import importlib
import ipaddress
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

WSGIApplication = Callable[..., Any]

#: The fields in which proxies name the client.
FORWARDING_FIELDS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


def with_console(applications: Sequence[WSGIApplication], anywhere: bool) -> list[WSGIApplication]:
    """Wraps applications in Werkzeug's debugger, if Werkzeug is installed.

    :param anywhere: whether clients on other machines get the console as well
    """
    try:
        debug = importlib.import_module("werkzeug.debug")
    except ImportError:
        return list(applications)

    class Debugger(debug.DebuggedApplication):  # type: ignore[misc,name-defined]
        def check_host_trust(self, environ: dict[str, Any]) -> bool:
            # The server has refused all hosts but those of ``allowed_hosts`` and those that can't be rebound.
            # Werkzeug's own list has neither IPv6 addresses nor the addresses of 0.0.0.0.
            return True

    # One PIN for all applications of the server.
    debuggers = [Debugger(application, evalex=True, pin_logging=False) for application in applications]
    for debugger in debuggers[1:]:
        debugger._pin, debugger._pin_cookie = debuggers[0].pin, debuggers[0].pin_cookie_name
    if debuggers:
        print(f" * Debugger PIN: {debuggers[0].pin or 'disabled'}", file=sys.stderr)
    return [_Console(application, debugger, anywhere) for application, debugger in zip(applications, debuggers)]


class _Console:
    """An application whose failures are explained to browsers by Werkzeug's debugger.

    Other clients, and those on other machines, get what the server sends.
    """

    def __init__(self, application: WSGIApplication, debugger: WSGIApplication, anywhere: bool) -> None:
        self.application = application
        self.debugger = debugger
        self.anywhere = anywhere

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        is_page = "text/html" in environ.get("HTTP_ACCEPT", "") or "__debugger__=yes" in environ["QUERY_STRING"]
        if is_page and (self.anywhere or _is_local(environ)):
            return _Exchange(self.debugger, environ, start_response)
        return self.application(environ, start_response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.application, name)


class _Exchange:
    """One response of the debugger.

    Werkzeug sends its page with a second call of ``start_response`` without ``exc_info``, and ends a response that has
    begun as if it were complete. Here the page replaces a head that was not sent, and what was begun is aborted.
    """

    def __init__(self, debugger: WSGIApplication, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        self.start_response = start_response
        self.is_started = False
        self.failure: Optional[BaseException] = None
        self.blocks = debugger(environ, self.start)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.is_started and exc_info is None and sys.exc_info()[1] is not None:
            exc_info = sys.exc_info()
        try:
            write = self.start_response(status, headers, exc_info)
        except BaseException as error:
            self.failure = error if exc_info is not None else None
            raise
        self.is_started = True
        return write

    def __iter__(self) -> Iterator[bytes]:
        yield from self.blocks
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        if hasattr(self.blocks, "close"):
            self.blocks.close()


def _is_local(environ: dict[str, Any]) -> bool:
    """Whether the client is on this machine, and so is the client of a proxy on this machine."""
    if "HTTP_FORWARDED" in environ:
        return False
    addresses: Iterable[str] = [environ.get("REMOTE_ADDR", "")]
    for field in FORWARDING_FIELDS:
        if field in environ:
            addresses = [*addresses, *environ[field].split(",")]
    return all(_is_loopback(address.strip().strip("[]")) for address in addresses)


def _is_loopback(address: str) -> bool:
    if address == "<local>":
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
