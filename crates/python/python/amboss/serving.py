"""``run_simple``, ``make_server`` and their kin: what ``werkzeug.serving`` has, under the same names."""

import os
import sys
from typing import Any, Callable, Dict, Iterable, List, NoReturn, Optional, Tuple, Type, Union

from . import _again, _amboss, _early, _patched, _signals
from ._handler import WSGIRequestHandler

__all__ = [
    "BaseWSGIServer",
    "ForkingWSGIServer",
    "ThreadedWSGIServer",
    "WSGIRequestHandler",
    "is_running_from_reloader",
    "make_server",
    "make_ssl_devcert",
    "run_simple",
]

WSGIApplication = Callable[..., Iterable[bytes]]
SSLContext = Union[str, Tuple[str], Tuple[str, Optional[str]]]


def is_running_from_reloader() -> bool:
    """Is this the process that serves, started by one that watches files or holds several of them?"""
    return os.environ.get("AMBOSS_RUN_MAIN") == "true"


def make_ssl_devcert(base_path: str, host: Optional[str] = None, cn: Optional[str] = None) -> Tuple[str, str]:
    """Makes a certificate and its key for development.

    :param base_path: the files are this with ``.crt`` and ``.key`` behind it
    :param host: the certificate is for this name and everything below it
    :param cn: or for this common name
    :return: the two paths
    :raises OSError: when they can't be written, or the name is none
    """
    certificate, key = _amboss.make_ssl_devcert(base_path, host, cn)
    return str(certificate), str(key)


def _address(host: str, port: int) -> str:
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError("port must be an integer")
    if host.startswith("unix://"):
        return host
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _options(
    threaded: Optional[bool],
    processes: int,
    threads: Optional[int],
    request_handler: Optional[Type[WSGIRequestHandler]],
    passthrough_errors: bool,
    ssl_context: Optional[SSLContext],
    quiet: bool,
    body_mode: str,
    body_directory: Optional[str],
) -> Dict[str, Any]:
    if threaded and processes > 1:
        raise ValueError("Cannot have a multi-thread and multi-process server.")
    if threads is not None and (threaded is False or processes > 1):
        raise ValueError("threads is for a server that runs several requests at once in one process")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}: a server without them answers nobody")
    if body_mode not in ("collect", "stream"):
        raise ValueError(f"body_mode must be 'collect' or 'stream', not {body_mode!r}")
    if body_directory is not None and not os.path.isdir(body_directory):
        raise ValueError(f"body_directory {body_directory!r} is not a directory; make it first")
    if request_handler is WSGIRequestHandler:
        request_handler = None
    return {
        "threaded": threaded,
        "processes": processes,
        "threads": threads,
        "request_handler": request_handler,
        "passthrough_errors": passthrough_errors,
        "ssl_context": ssl_context,
        "quiet": quiet,
        "body_mode": body_mode,
        "body_directory": body_directory,
    }


class BaseWSGIServer:
    """A server that listens, and serves when it is told to. Made by :func:`make_server`."""

    multithread = False
    multiprocess = False

    def __init__(
        self, addresses: List[str], app: WSGIApplication, options: Dict[str, Any], fd: Optional[int] = None
    ) -> None:
        complaint = _patched.complaint()
        if complaint is not None:
            raise RuntimeError(complaint)
        self._server = _amboss.Server(addresses, app, options, fd)
        self.app = app
        self.ssl_context = options["ssl_context"]
        self.passthrough_errors = options["passthrough_errors"]
        self.server_address: Tuple[str, int] = self._server.local_addrs()[0]
        self.host, self.port = self.server_address

    @property
    def server_port(self) -> int:
        """The port it listens on, also when 0 was asked for."""
        return self.port

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until :meth:`shutdown` is called or CTRL+C is pressed. A ``poll_interval`` is not needed."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()

    def handle_request(self, timeout: Optional[float] = None) -> bool:
        """Serves one request and returns when its answer is out.

        :param timeout: seconds to wait for it
        :return: was there one?
        """
        return self._server.handle_request(timeout)

    def shutdown(self) -> None:
        """Makes :meth:`serve_forever` return; from any thread."""
        self._server.shutdown()

    def server_close(self) -> None:
        """Lets go of the port."""
        self._server.server_close()

    def __enter__(self) -> "BaseWSGIServer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server_close()


class ThreadedWSGIServer(BaseWSGIServer):
    """A thread for each request that is running."""

    multithread = True


class ForkingWSGIServer(BaseWSGIServer):
    """A process for each request that is running."""

    multiprocess = True


def make_server(
    host: str,
    port: int,
    app: WSGIApplication,
    threaded: Optional[bool] = None,
    processes: int = 1,
    request_handler: Optional[Type[WSGIRequestHandler]] = None,
    passthrough_errors: bool = False,
    ssl_context: Optional[SSLContext] = None,
    fd: Optional[int] = None,
    *,
    threads: Optional[int] = None,
    quiet: bool = False,
    body_mode: str = "collect",
    body_directory: Optional[str] = None,
) -> BaseWSGIServer:
    """Makes a server that listens already; call its ``serve_forever``.

    :param host: a name or address, ``localhost`` for both families, or ``unix://path``
    :param port: 0 lets the system pick one, see the server's ``port``
    :param threaded: a thread for each running request, unless this is False or ``processes`` more than 1
    :param processes: more than 1: a process for each running request, at most so many
    :param threads: running requests at once, at most; 16
    :param quiet: no access log
    :param body_mode: ``"collect"`` calls the application when the body of a request is complete, so that slow uploads take
        no thread; ``"stream"`` lets it read the body as it arrives
    :param body_directory: where collected bodies of more than 16 MiB lie, in files without a name; ``TMPDIR``, else
        ``/var/tmp``
    :param fd: listen on this open socket instead, which is not closed with the server
    :raises OSError: when the address can't be listened on
    :raises ValueError: for arguments that contradict each other
    :raises RuntimeError: when gevent or eventlet has replaced Python's threads
    """
    options = _options(
        threaded,
        processes,
        threads,
        request_handler,
        passthrough_errors,
        ssl_context,
        quiet,
        body_mode,
        body_directory,
    )
    addresses = [_address(host, port)] if fd is None else []
    kind: Type[BaseWSGIServer] = ThreadedWSGIServer
    if processes > 1:
        kind = ForkingWSGIServer
    elif threaded is False:
        kind = BaseWSGIServer
    return kind(addresses, app, options, fd)


def run_simple(
    hostname: str,
    port: int,
    application: WSGIApplication,
    use_reloader: bool = False,
    use_debugger: bool = False,
    use_evalex: bool = True,
    extra_files: Optional[Iterable[str]] = None,
    exclude_patterns: Optional[Iterable[str]] = None,
    reloader_interval: float = 1,
    reloader_type: str = "auto",
    threaded: Optional[bool] = None,
    processes: int = 1,
    request_handler: Optional[Type[WSGIRequestHandler]] = None,
    static_files: Optional[Any] = None,
    passthrough_errors: bool = False,
    ssl_context: Optional[SSLContext] = None,
    *,
    threads: Optional[int] = None,
    error_page: bool = False,
    quiet: bool = False,
    body_mode: str = "collect",
    body_directory: Optional[str] = None,
) -> None:
    """Serves an application until CTRL+C is pressed.

    SIGTERM stops it in the same way, as long as the program has no handler of its own for that.

    :param hostname: a name or address, ``localhost`` for both families, or ``unix://path``
    :param port: 0 lets the system pick one; the banner says which
    :param use_reloader: start this program again in a process of its own whenever one of its modules changes
    :param use_debugger: show errors in the browser, with Werkzeug's debugger if that is installed
    :param use_evalex: let the debugger run code in its frames
    :param extra_files: watch these, too: files, folders and globs
    :param exclude_patterns: never react to these, as in :mod:`fnmatch`
    :param reloader_interval: seconds between two looks of the ``stat`` reloader
    :param reloader_type: ``auto``, ``stat`` or ``notify`` (``watchdog``)
    :param threaded: a thread for each running request, unless this is False or ``processes`` more than 1
    :param processes: more than 1: a process for each running request, at most so many
    :param request_handler: a subclass of :class:`WSGIRequestHandler`
    :param static_files: files for paths, by Werkzeug's ``SharedDataMiddleware`` if that is installed
    :param passthrough_errors: an error of the application ends the server and is raised here
    :param ssl_context: ``"adhoc"`` or ``(certfile, keyfile)``
    :param threads: running requests at once, at most; 16
    :param error_page: while the newest code is broken, show why to every request instead of serving the old code
    :param quiet: no banner and no access log
    :param body_mode: ``"collect"`` calls the application when the body of a request is complete, so that slow uploads take
        no thread; ``"stream"`` lets it read the body as it arrives
    :param body_directory: where collected bodies of more than 16 MiB lie, in files without a name; ``TMPDIR``, else
        ``/var/tmp``
    :raises ValueError: for arguments that contradict each other
    :raises SystemExit: when the address can't be listened on, and when gevent or eventlet has replaced Python's threads
    """
    address = _address(hostname, port)
    options = _options(
        threaded,
        processes,
        threads,
        request_handler,
        passthrough_errors,
        ssl_context,
        quiet,
        body_mode,
        body_directory,
    )
    complaint = _patched.complaint()
    if complaint is not None:
        print(f"amboss: {complaint}", file=sys.stderr)
        raise SystemExit(2)
    if use_reloader and not is_running_from_reloader():
        _supervise(
            address, options, extra_files, exclude_patterns, reloader_interval, reloader_type, error_page
        )
    if static_files:
        application = _werkzeug("static_files", "werkzeug.middleware.shared_data", "SharedDataMiddleware")(
            application, static_files
        )
    if use_debugger:
        debugged = _werkzeug("use_debugger", "werkzeug.debug", "DebuggedApplication")(application, evalex=use_evalex)
        # Since Werkzeug 3.0.3: the hosts under which it may be used, besides the machine's own names.
        if hasattr(debugged, "trusted_hosts"):
            debugged.trusted_hosts.append(hostname)
        application = debugged
    _early.serves()
    try:
        _amboss.run([address], application, options)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        # As Werkzeug does: a sentence, not a traceback.
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        _signals.forget_in_script()


def _werkzeug(argument: str, module: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{argument} needs Werkzeug: pip install werkzeug, or leave it out") from None


def _supervise(
    address: str,
    options: Dict[str, Any],
    extra_files: Optional[Iterable[str]],
    exclude_patterns: Optional[Iterable[str]],
    reloader_interval: float,
    reloader_type: str,
    error_page: bool,
) -> NoReturn:
    """Becomes the process that watches, and starts this program again.

    Nothing that the program started until now stays beside its second copy: this process is replaced.
    """
    if reloader_type not in ("auto", "stat", "notify", "watchdog"):
        raise ValueError(f"{reloader_type!r} is no way to watch files; choose auto, stat or notify")
    # What would fail in the child fails here, where somebody sees it.
    fingerprint = _amboss.check(options)
    again = _again.command()
    # In one word each: a path or a pattern may look like a flag.
    words: List[str] = [f"--bind={address}", "--reload", "--watch-reported", f"--reloader-type={reloader_type}"]
    words.append(f"--reloader-interval={reloader_interval}")
    # From where the script is now.
    words += [f"--extra-files={os.path.abspath(path)}" for path in extra_files or ()]
    words += [f"--exclude-patterns={pattern}" for pattern in exclude_patterns or ()]
    if error_page:
        words.append("--error-page")
    if options["quiet"]:
        words.append("--quiet")
    if options["ssl_context"] is not None:
        words.append("--url-scheme=https")
        if fingerprint is not None:
            words.append(f"--fingerprint={fingerprint}")
    _again.leave_everything()
    os.execv(sys.executable, [sys.executable, "-m", "amboss", *words, "--", *again])
