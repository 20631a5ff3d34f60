"""``run_simple``, ``make_server`` and the rest of the API of ``werkzeug.serving``, under the same names."""

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional, Union

from . import _amboss, _console, _monkey_patching, _respawn, _signals, _startup_report
from ._handler import WSGIRequestHandler

if TYPE_CHECKING:
    import ssl

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
StaticFile = Union[str, "os.PathLike[str]", tuple[str, str]]
StaticFiles = Union[Mapping[str, StaticFile], Iterable[tuple[str, StaticFile]]]
CertificateFiles = Union[tuple[str], tuple[str, Optional[str]]]
SSLContext = Union[str, CertificateFiles, Sequence[CertificateFiles], "ssl.SSLContext"]


def is_running_from_reloader() -> bool:
    """Whether this process serves and was started by a supervisor, which reloads it or runs several workers."""
    return os.environ.get("AMBOSS_RUN_MAIN") == "true"


def make_ssl_devcert(base_path: str, host: Optional[str] = None, cn: Optional[str] = None) -> tuple[str, str]:
    """Writes a certificate and its key for development.

    :param base_path: the path of the two files without their extensions ``.crt`` and ``.key``
    :param host: the host name for which the certificate is valid, along with its subdomains
    :param cn: the common name, as an alternative to ``host``
    :return: the paths of the certificate and the key
    :raises OSError: if the files can't be written, or the name is invalid
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


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Checks the options that ``make_server`` and ``run_simple`` share, and returns them as the server takes them."""
    for name, kind, example in (("trusted_proxies", str, "'127.0.0.1,10.0.0.0/8'"), ("threads", int, "16")):
        if options[name] is not None and type(options[name]) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, as {example}, not {options[name]!r}")
    if type(options["processes"]) is not int:
        raise TypeError(f"processes must be int, as 1, not {options['processes']!r}")
    if options["processes"] < 1:
        raise ValueError(f"processes must be 1 or more, not {options['processes']}")
    if isinstance(options["allowed_hosts"], str):
        raise TypeError(f"allowed_hosts must be a list of names, as [{options['allowed_hosts']!r}]")
    options = {**options, "greenlets": _greenlets_of(options)}
    threaded, processes, threads = options["threaded"], options["processes"], options["threads"]
    body_mode, body_directory = options["body_mode"], options["body_directory"]
    if threaded and processes > 1:
        raise ValueError("Cannot have a multi-thread and multi-process server.")
    if threads is not None and (threaded is False or processes > 1):
        raise ValueError("threads requires a server that runs several requests at once in one process")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    if body_mode not in ("collect", "stream"):
        raise ValueError(f"body_mode must be 'collect' or 'stream', not {body_mode!r}")
    if body_directory is not None and not os.path.isdir(body_directory):
        raise ValueError(f"body_directory {body_directory!r} is not a directory; create it first")
    if options["proxy_protocol"] not in (None, "optional", "required"):
        raise ValueError(f"proxy_protocol must be 'required', 'optional' or None, not {options['proxy_protocol']!r}")
    if options["forwarded_hops"] is not None:
        hops = ",".join(f"{name}={number}" for name, number in options["forwarded_hops"].items())
        options = {**options, "forwarded_hops": hops}
    if options["allowed_hosts"] is not None:
        options = {**options, "allowed_hosts": list(options["allowed_hosts"])}
    if options["request_handler"] is WSGIRequestHandler:
        # The server does the same itself, and faster.
        options = {**options, "request_handler": None}
    return options


def _greenlets_of(options: dict[str, Any]) -> Optional[str]:
    """Returns the library in whose greenlets requests run; ``None`` for threads."""
    worker_class, connections = options["worker_class"], options["worker_connections"]
    if worker_class not in (None, "threads", *_monkey_patching.LIBRARIES):
        raise ValueError(f"worker_class must be 'threads', 'gevent' or 'eventlet', not {worker_class!r}")
    if type(connections) is not int or connections < 1:
        raise ValueError(f"worker_connections must be an int of 1 or more, not {connections!r}")
    library = _monkey_patching.greenlets(worker_class)
    if library is None:
        return None
    for name, is_given, instead in (
        ("threads", options["threads"] is not None, "use worker_connections"),
        ("processes", options["processes"] > 1, "use one process, or the command amboss with --workers"),
        ("threaded=False", options["threaded"] is False, "use worker_connections=1"),
        ("passthrough_errors", options["passthrough_errors"], "leave it out"),
    ):
        if is_given:
            raise ValueError(f"{name} does not go together with requests in greenlets of {library}; {instead}")
    return library


class BaseWSGIServer:
    """A server that listens, and serves on request. Made by :func:`make_server`."""

    multithread = False
    multiprocess = False

    def __init__(
        self, addresses: list[str], app: WSGIApplication, options: dict[str, Any], fd: Optional[int] = None
    ) -> None:
        self._server = _amboss.Server(addresses, app, options, fd)
        #: The library in whose greenlets requests run; ``None`` for threads.
        self._greenlets: Optional[str] = options["greenlets"]
        #: Drives this server in greenlets, from its first use on.
        self._driver: Any = None
        self.app = app
        self.ssl_context = options["ssl_context"]
        self.passthrough_errors = options["passthrough_errors"]
        self.server_address: tuple[str, int] = self._server.local_addrs()[0]
        self.host, self.port = self.server_address

    @property
    def server_port(self) -> int:
        """The port on which the server listens, which the system chose if port 0 was given."""
        return self.port

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until :meth:`shutdown` is called or CTRL+C is pressed. ``poll_interval`` is ignored."""
        try:
            if self._greenlets is None:
                self._server.serve_forever()
            else:
                self._serve_in_greenlets()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()

    def handle_request(self, timeout: Optional[float] = None) -> bool:
        """Serves one request, and returns after the response has been sent.

        :param timeout: how long to wait for a request, in seconds
        :return: whether there was a request
        """
        if self._greenlets is None:
            return self._server.handle_request(timeout)
        served: int = self._as_guest().serve(1, timeout)
        return served > 0

    def _serve_in_greenlets(self) -> None:
        from . import _greenlets

        _greenlets.serve(self._as_guest(), exits=False)

    def _as_guest(self) -> Any:
        if self._driver is None:
            from . import _greenlets

            self._driver = _greenlets.Driver(self._server.become_guest())
        return self._driver

    def shutdown(self) -> None:
        """Makes :meth:`serve_forever` return. May be called from any thread."""
        self._server.shutdown()

    def server_close(self) -> None:
        """Closes the listening sockets."""
        self._server.server_close()
        if self._driver is not None:
            self._driver.guest.finish()

    def __enter__(self) -> "BaseWSGIServer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server_close()


class ThreadedWSGIServer(BaseWSGIServer):
    """A server that runs each request in a thread."""

    multithread = True


class ForkingWSGIServer(BaseWSGIServer):
    """A server that runs each request in a process."""

    multiprocess = True


def make_server(
    host: str,
    port: int,
    app: WSGIApplication,
    threaded: Optional[bool] = None,
    processes: int = 1,
    request_handler: Optional[type[WSGIRequestHandler]] = None,
    passthrough_errors: bool = False,
    ssl_context: Optional[SSLContext] = None,
    fd: Optional[int] = None,
    *,
    threads: Optional[int] = None,
    worker_class: Optional[str] = None,
    worker_connections: int = 1000,
    quiet: bool = False,
    body_mode: str = "collect",
    body_directory: Optional[str] = None,
    trusted_proxies: Optional[str] = None,
    forwarded_hops: Optional[Mapping[str, int]] = None,
    forwarded_rfc7239: bool = False,
    proxy_protocol: Optional[str] = None,
    use_debugger: bool = False,
    debug_anywhere: bool = False,
    allowed_hosts: Optional[Iterable[str]] = None,
) -> BaseWSGIServer:
    """Makes a server that listens; call its ``serve_forever`` to serve.

    :param host: a host name, ``localhost`` for IPv4 and IPv6, an address, or ``unix://path``
    :param port: the port; 0 lets the system choose one, see the server's ``port``
    :param threaded: whether each request runs in a thread; True by default, unless ``processes`` is more than 1
    :param processes: if more than 1, each request runs in a process; the maximum number of these processes
    :param threads: the maximum number of requests that run at once; 16 by default
    :param worker_class: how requests run: in ``"threads"``, or in greenlets of ``"gevent"`` or ``"eventlet"``; by default
        in greenlets of the library that has replaced Python's threads in this program, else in threads
    :param worker_connections: the maximum number of requests that run at once in greenlets
    :param quiet: whether to write no access log
    :param body_mode: ``"collect"`` calls the application after the request body is complete, so that a slow upload does
        not occupy a thread; ``"stream"`` lets the application read the body as it arrives
    :param body_directory: the directory for collected bodies of more than 16 MiB, which are stored in unnamed files;
        ``TMPDIR`` by default, or ``/var/tmp`` if that is not set
    :param trusted_proxies: the proxies to trust, separated by commas: addresses, networks such as ``10.0.0.0/8``,
        ``unix:`` for Unix sockets, ``*`` for everyone; ``127.0.0.0/8,::1,unix:`` by default
    :param forwarded_hops: the number of trusted proxies that set each ``X-Forwarded`` field; by default
        ``{"for": 1, "proto": 1, "host": 0, "port": 0, "prefix": 0}``
    :param forwarded_rfc7239: whether to read the ``Forwarded`` field instead of ``X-Forwarded`` fields
    :param proxy_protocol: ``"required"`` or ``"optional"`` if trusted proxies begin connections with a header of the PROXY
        protocol
    :param use_debugger: whether to answer an exception with a page that explains it, as HTML, text or JSON
    :param debug_anywhere: whether the debugger may be used on addresses that other machines can reach, which can read
        the source code then, and with the PIN of Werkzeug's console also run code
    :param allowed_hosts: the hosts that requests are answered for, besides ``localhost`` and the names below it,
        ``host``, and IP addresses; others get 421. All hosts by default; with the debugger, none of the others
    :param fd: a listening socket to use instead of ``host`` and ``port``; it stays open when the server is closed
    :raises OSError: if the server can't listen on the address
    :raises ValueError: if arguments contradict each other
    :raises RuntimeError: if the library of the worker class is not installed, or another one has replaced Python's threads
    """
    options = _check_options(
        {
            "threaded": threaded,
            "processes": processes,
            "threads": threads,
            "worker_class": worker_class,
            "worker_connections": worker_connections,
            "request_handler": request_handler,
            "passthrough_errors": passthrough_errors,
            "ssl_context": ssl_context,
            "quiet": quiet,
            "body_mode": body_mode,
            "body_directory": body_directory,
            "static_files": [],
            "hosts": [],
            "trusted_proxies": trusted_proxies,
            "forwarded_hops": forwarded_hops,
            "forwarded_rfc7239": forwarded_rfc7239,
            "proxy_protocol": proxy_protocol,
            "use_debugger": use_debugger,
            "debug_anywhere": debug_anywhere,
            "allowed_hosts": allowed_hosts,
        }
    )
    addresses = [_address(host, port)] if fd is None else []
    server_class: type[BaseWSGIServer] = ThreadedWSGIServer
    if processes > 1:
        server_class = ForkingWSGIServer
    elif threaded is False:
        server_class = BaseWSGIServer
    return server_class(addresses, app, options, fd)


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
    request_handler: Optional[type[WSGIRequestHandler]] = None,
    static_files: Optional[StaticFiles] = None,
    passthrough_errors: bool = False,
    ssl_context: Optional[SSLContext] = None,
    *,
    hosts: Optional[Mapping[str, Union[WSGIApplication, str]]] = None,
    threads: Optional[int] = None,
    worker_class: Optional[str] = None,
    worker_connections: int = 1000,
    error_page: bool = False,
    quiet: bool = False,
    body_mode: str = "collect",
    body_directory: Optional[str] = None,
    trusted_proxies: Optional[str] = None,
    forwarded_hops: Optional[Mapping[str, int]] = None,
    forwarded_rfc7239: bool = False,
    proxy_protocol: Optional[str] = None,
    debug_anywhere: bool = False,
    allowed_hosts: Optional[Iterable[str]] = None,
) -> None:
    """Serves an application until CTRL+C is pressed.

    SIGTERM stops it as well, unless the program has installed its own handler.

    :param hostname: a host name, ``localhost`` for IPv4 and IPv6, an address, or ``unix://path``
    :param port: the port; 0 lets the system choose one, which the banner shows
    :param use_reloader: whether to restart this program in a child process when one of its modules changes
    :param use_debugger: whether to answer an exception with a page that explains it, as HTML, text or JSON
    :param use_evalex: whether browsers on this machine get the page of Werkzeug's debugger instead, if Werkzeug is
        installed and there is one process: its console runs code in the frames of the traceback
    :param extra_files: more files to watch: files, directories and glob patterns
    :param exclude_patterns: patterns of files to ignore, as in :mod:`fnmatch`
    :param reloader_interval: the interval between two scans of the ``stat`` reloader, in seconds
    :param reloader_type: ``auto``, ``stat`` or ``notify``; ``watchdog`` is a synonym of ``notify``
    :param threaded: whether each request runs in a thread; True by default, unless ``processes`` is more than 1
    :param processes: if more than 1, each request runs in a process; the maximum number of these processes
    :param request_handler: a subclass of :class:`WSGIRequestHandler`
    :param static_files: folders and files to serve without the application: a dict, or pairs, from a prefix of the path
        such as ``"/static"`` to a folder, to a file, or to ``(package, folder)``
    :param passthrough_errors: whether an exception of the application stops the server and is raised here
    :param ssl_context: ``"adhoc"``, ``(certfile, keyfile)``, or a list of such pairs: a client gets the certificate with
        the name that it asks for (SNI), or else the first one. Or an ``ssl.SSLContext``, which is slower than these
    :param hosts: further WSGI applications, or folders, by the host for which they answer: a name such as
        ``"api.localhost"``, or ``"*.localhost"`` for all names below
    :param threads: the maximum number of requests that run at once; 16 by default
    :param worker_class: how requests run: in ``"threads"``, or in greenlets of ``"gevent"`` or ``"eventlet"``; by default
        in greenlets of the library that has replaced Python's threads in this program, else in threads
    :param worker_connections: the maximum number of requests that run at once in greenlets
    :param error_page: whether to answer every request with an error page while the code can't be loaded, instead of
        serving the previous code
    :param quiet: whether to write no banner and no access log
    :param body_mode: ``"collect"`` calls the application after the request body is complete, so that a slow upload does
        not occupy a thread; ``"stream"`` lets the application read the body as it arrives
    :param body_directory: the directory for collected bodies of more than 16 MiB, which are stored in unnamed files;
        ``TMPDIR`` by default, or ``/var/tmp`` if that is not set
    :param trusted_proxies: the proxies to trust, separated by commas: addresses, networks such as ``10.0.0.0/8``,
        ``unix:`` for Unix sockets, ``*`` for everyone; ``127.0.0.0/8,::1,unix:`` by default
    :param forwarded_hops: the number of trusted proxies that set each ``X-Forwarded`` field; by default
        ``{"for": 1, "proto": 1, "host": 0, "port": 0, "prefix": 0}``
    :param forwarded_rfc7239: whether to read the ``Forwarded`` field instead of ``X-Forwarded`` fields
    :param proxy_protocol: ``"required"`` or ``"optional"`` if trusted proxies begin connections with a header of the PROXY
        protocol
    :param debug_anywhere: whether the debugger may be used on addresses that other machines can reach, which can read
        the source code then, and with the PIN of Werkzeug's console also run code
    :param allowed_hosts: the hosts that requests are answered for, besides ``localhost`` and the names below it,
        ``hostname``, and IP addresses; others get 421. All hosts by default; with the debugger, none of the others
    :raises ValueError: if arguments contradict each other
    :raises SystemExit: if the server can't listen on the address
    :raises RuntimeError: if the library of the worker class is not installed, or another one has replaced Python's threads
    """
    address = _address(hostname, port)
    options = _check_options(
        {
            "threaded": threaded,
            "processes": processes,
            "threads": threads,
            "worker_class": worker_class,
            "worker_connections": worker_connections,
            "request_handler": request_handler,
            "passthrough_errors": passthrough_errors,
            "ssl_context": ssl_context,
            "quiet": quiet,
            "body_mode": body_mode,
            "body_directory": body_directory,
            "static_files": _static_files(static_files),
            "hosts": list(hosts.items()) if hosts else [],
            "trusted_proxies": trusted_proxies,
            "forwarded_hops": forwarded_hops,
            "forwarded_rfc7239": forwarded_rfc7239,
            "proxy_protocol": proxy_protocol,
            "use_debugger": use_debugger,
            "debug_anywhere": debug_anywhere,
            "allowed_hosts": allowed_hosts,
        }
    )
    if use_reloader and not is_running_from_reloader():
        _supervise(address, options, extra_files, exclude_patterns, reloader_interval, reloader_type, error_page)
    if use_debugger and use_evalex and processes <= 1:
        names = [host for host, app in options["hosts"] if callable(app)]
        applications = [application, *(app for _, app in options["hosts"] if callable(app))]
        application, *own = _console.with_console(applications, debug_anywhere)
        wrapped = dict(zip(names, own))
        options["hosts"] = [(host, wrapped.get(host, app)) for host, app in options["hosts"]]
    _startup_report.disable()
    try:
        guest = _amboss.run([address], application, options)
        if guest is not None:
            from . import _greenlets

            _greenlets.serve(_greenlets.Driver(guest), exits=False)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        # Werkzeug also prints a message without a traceback.
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        _signals.uninstall_in_script()


def _static_files(static_files: Optional[StaticFiles]) -> list[tuple[str, str]]:
    """Returns prefixes with paths, from the forms that Werkzeug's ``SharedDataMiddleware`` accepts."""
    if static_files is None:
        return []
    pairs = static_files.items() if isinstance(static_files, Mapping) else static_files
    return [(prefix, _static_path(path)) for prefix, path in pairs]


def _static_path(path: StaticFile) -> str:
    if not isinstance(path, tuple):
        return os.fspath(path)
    package, folder = path
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"static_files names the package {package!r}, which can't be found; check the name")
    return os.path.join(os.path.dirname(spec.origin), folder)


def _certificate_words(ssl_context: Optional[SSLContext]) -> list[str]:
    """Returns the flags for the certificate, with which the supervisor serves the error page."""
    if ssl_context is None:
        return []
    if isinstance(ssl_context, str) or not isinstance(ssl_context, Sequence):
        # The supervisor can't use a context of the ssl module. It speaks TLS with a certificate of its own.
        return ["--adhoc"]
    words = []
    files: Any = [ssl_context] if isinstance(ssl_context, tuple) else ssl_context
    for certificate, *key in files:
        words.append(f"--cert={os.path.abspath(certificate)}")
        words.append(f"--key={os.path.abspath(next(filter(None, key), certificate))}")
    return words


def _supervise(
    address: str,
    options: dict[str, Any],
    extra_files: Optional[Iterable[str]],
    exclude_patterns: Optional[Iterable[str]],
    reloader_interval: float,
    reloader_type: str,
    error_page: bool,
) -> NoReturn:
    """Replaces this process with the supervisor, which starts this program again as its child.

    The program is shut down first, so nothing that it has started keeps running next to the child.
    """
    if reloader_type not in ("auto", "stat", "notify", "watchdog"):
        raise ValueError(f"reloader_type must be 'auto', 'stat' or 'notify', not {reloader_type!r}")
    # Errors in the options are raised here, instead of in every child.
    _amboss.check([address], options)
    program = _respawn.respawn_command()
    # Each option and its value are one word, because a path or a pattern may begin with a dash.
    words: list[str] = [f"--bind={address}", "--reload", "--watch-reported", f"--reloader-type={reloader_type}"]
    words.append(f"--reloader-interval={reloader_interval}")
    # Relative paths are relative to the current directory, which ``shut_down_before_exec`` changes.
    words += [f"--extra-files={os.path.abspath(path)}" for path in extra_files or ()]
    words += [f"--exclude-patterns={pattern}" for pattern in exclude_patterns or ()]
    # The page answers only for known hosts, and these are among them.
    words += [f"--allowed-host={host}" for host in [*(options["allowed_hosts"] or ()), *dict(options["hosts"])]]
    if error_page:
        words.append("--error-page")
    if options["quiet"]:
        words.append("--quiet")
    # The supervisor itself serves the error page.
    if options["trusted_proxies"] is not None:
        words.append(f"--forwarded-allow-ips={options['trusted_proxies']}")
    if options["proxy_protocol"] is not None:
        words.append(f"--proxy-protocol={options['proxy_protocol']}")
    if options["forwarded_hops"] is not None:
        words.append(f"--forwarded-hops={options['forwarded_hops']}")
    if options["forwarded_rfc7239"]:
        words.append("--forwarded-rfc7239")
    words += _certificate_words(options["ssl_context"])
    _respawn.shut_down_before_exec()
    os.execv(sys.executable, [sys.executable, "-m", "amboss", *words, "--", *program])
