"""``amboss APP``: targets that name an application, messages for those that do not, and ways to start the command."""

import html
import re
import sys

import pytest

from commands import BINARY, INSTALLED, MODULE, Folder, app, run, serving_command, serving_words, start
from waiting import wait_until

WAYS = {"module": MODULE, "installed": INSTALLED}

SHOP = (
    app("plain")
    + """
class Sites:
    class de:
        app = staticmethod(app)

def make(*args, **kwargs):
    def made(environ, start_response):
        start_response("200 OK", [])
        return [f"made{args}{sorted(kwargs.items())} {os.getpid()}".encode()]
    return made

def fails():
    raise LookupError("no shelf")

number = 7
"""
)

#: Applications of many kinds; all of them are callable.
SHAPES = """
import functools

def respond(start_response, name):
    start_response("200 OK", [])
    return [f"{name} {__import__('os').getpid()}".encode()]

def any(*args, **kwargs):
    return respond(args[1], "any")

def defaulted(environ, start_response, extra=None):
    return respond(start_response, "defaulted")

class Class:
    def __init__(self, environ, start_response):
        self.body = respond(start_response, "class")
    def __iter__(self):
        return iter(self.body)

class Instance:
    def __call__(self, environ, start_response):
        return respond(start_response, "instance")
    def method(self, environ, start_response):
        return respond(start_response, "method")
    @staticmethod
    def static(environ, start_response):
        return respond(start_response, "static")

instance = Instance()
partial = functools.partial(lambda name, environ, start_response: respond(start_response, name), "partial")

def create_app():
    pass

@functools.wraps(create_app)
def wrapped(environ, start_response):
    return respond(start_response, "wrapped")
"""

FILES = {
    "shop.py": SHOP,
    "site1.py": app("default"),
    "site2.py": app("default", name="application"),
    "site4.py": "app = 1\n" + app("default", name="application"),
    "counted.py": "app = 1\ndef wsgi(environ, start_response): pass",
    "site3.py": "def wsgi(environ, start_response): pass",
    "bad.py": "import os\nimport not_there_either\n",
    "wrong.py": "def app(environ, start_response:\n    pass\n",
    "ends.py": "import sys\nsys.exit(7)\n",
    "objects.py": """
import functools, os.path, string
from objects_of_another import imported

class _App(string.Formatter):
    def __call__(self, environ, start_response): pass

def i(): pass
def boom(): pass
app = functools.partial(_App(), start_response=None)
partial = functools.partial(boom)
number = 7
""",
    "objects_of_another.py": "import functools\nimported = functools.partial(len)\n",
    "factories.py": """
def create(): pass
def with_defaults(config=None, debug=False): pass
def with_arguments(config): pass
async def asgi(scope, receive, send): pass

class Three:
    def __call__(self, one, two, three): pass

class Asgi:
    async def __call__(self, scope, receive, send): pass
""",
    "factory1.py": "def app(): pass",
    "shapes.py": SHAPES,
    "nothing/readme.txt": "",
    "loose/other.py": "",
    "loose/wsgi.py": "",
    "my shop/front-desk.py": "import neighbour\n" + app("desk"),
    "my shop/neighbour.py": "",
    "parts/__init__.py": "",
    "parts/names.py": "NAME = 'relative'",
    "parts/inner/__init__.py": "",
    "parts/inner/web.py": "from ..names import NAME\n" + app("?") + "VERSION = NAME\n",
    "parts/json.py": app("not the library's"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = Folder(tmp_path_factory.mktemp("targets") / "work")
    for name, text in FILES.items():
        folder.save(name, text)
    return folder.path


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ("shop:app", "plain"),
        ("shop", "plain"),
        ("site1", "default"),
        ("site2", "default"),
        ("site4", "default"),
        ("site1.py", "default"),
        ("site2.py:application", "default"),
        ("shop:Sites.de.app", "plain"),
        ("shop:make()", "made()[]"),
        (
            "shop:make('a:b', 1.5, [None, True], n=-1, d={'k': (1,)})",
            "made('a:b', 1.5, [None, True])[('d', {'k': (1,)}), ('n', -1)]",
        ),
        ("shop.py:make('x.py:y')", "made('x.py:y',)[]"),
        ("./shop.py", "plain"),
        ("my shop/front-desk.py", "desk"),
        ("my shop/front-desk.py:app", "desk"),
        ("parts.inner.web:app", "relative"),
        ("parts/inner/web.py", "relative"),
        ("parts/json.py:app", "not the library's"),
    ],
)
def test_a_target_names_an_application(folder, target, answers):
    with serving_command(folder, target) as server:
        assert server.version() == (answers, server.pid)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [[], ["-w", "2"]])
def test_modules_in_the_current_directory_can_be_imported(folder, way, more):
    with serving_command(folder, "shop", *more, way=WAYS[way]) as server:
        assert server.version()[0] == "plain"


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        (name, name.rpartition(".")[2].lower())
        for name in ["any", "defaulted", "Class", "instance", "partial", "wrapped"]
    ]
    + [(f"instance.{name}", name) for name in ["method", "static"]],
)
def test_every_kind_of_callable_is_served(folder, target, answers):
    with serving_command(folder, f"shapes:{target}") as server:
        assert server.version()[0] == answers


PATCHED = {
    "gevent": "import gevent.monkey\ngevent.monkey.patch_all()\n",
    "eventlet": "import eventlet\neventlet.monkey_patch()\n",
}


@pytest.mark.parametrize("by", PATCHED)
@pytest.mark.parametrize("more", [[], ["-w", "2"]])
def test_an_application_that_patches_itself_is_served(tmp_path, by, more):
    pytest.importorskip(by)
    folder = Folder(tmp_path / "work")
    folder.save("green.py", PATCHED[by] + app("green"))
    with serving_command(folder.path, "green:app", *more) as server:
        assert server.version()[0] == "green"


def test_a_program_that_does_not_patch_threading_is_served(tmp_path):
    pytest.importorskip("gevent")
    folder = Folder(tmp_path / "work")
    folder.save("green.py", "import gevent.monkey\ngevent.monkey.patch_socket()\n" + app("green"))
    with serving_command(folder.path, "green:app") as server:
        assert server.version()[0] == "green"


def test_an_absolute_path_names_an_application(folder):
    with serving_command(folder / "parts", str(folder / "my shop/front-desk.py")) as server:
        assert server.version()[0] == "desk"


MAKES = "can't be called with environ and start_response; if it makes the application, "

#: The target, a part of the message, and lines that the traceback must contain.
BAD = [
    ("nowhere:app", "there is no module 'nowhere'; was the command started in the project's folder (", []),
    ("parts.nowhere:app", "there is no module 'parts.nowhere'", []),
    ("nowhere.py", "there is no file 'nowhere.py'; fix the path, or name a module", []),
    ("parts/nowhere", "there is no file 'parts/nowhere'", []),
    ("parts/inner", "'parts/inner' is a folder; name the package: parts.inner", []),
    ("parts/inner/", "'parts/inner/' is a folder; name the package: parts.inner", []),
    ("my shop/", "'my shop/' is a folder; name a file in it, as in my shop/front-desk.py", []),
    ("nothing/", "'nothing/' is a folder; name a .py file, or a module; to serve its files, write ./nothing/", []),
    ("loose", "'loose' is a folder; name a file in it, as in loose/wsgi.py", []),
    (":app", "':app' names no module; write module:object", []),
    ("shop:nothing", "module 'shop' has no 'nothing' (available: app, Sites, make, fails)", []),
    ("objects:ap", "module 'objects' has no 'ap' (available: app, i, boom, partial)", []),
    ("objects:bom", "module 'objects' has no 'bom' (available: boom, app, i, partial)", []),
    ("factories:create", MAKES + "write 'factories:create()'", []),
    ("factories:with_defaults", MAKES + "write 'factories:with_defaults()'", []),
    ("factories:with_arguments", MAKES + "write 'factories:with_arguments(...)' with its arguments", []),
    ("factories.py:create", MAKES + "write 'factories.py:create()'", []),
    ("factory1", MAKES + "write 'factory1:app()'", []),
    ("factories:Three()", "'factories:Three()' can't be called with environ and start_response", []),
    ("factories:asgi", "'factories:asgi' is an ASGI application, and amboss serves WSGI", []),
    ("factories:Asgi()", "'factories:Asgi()' is an ASGI application", []),
    ("shop:Sites.fr.app", "an object of type 'type' has no 'fr'", []),
    ("site3", "'site3' has neither 'app' nor 'application'; name the object: site3:object (available: wsgi)", []),
    ("shop:number", "'shop:number' is an object of type 'int', which can't be called; name a function", []),
    ("shop:make(name)", "the arguments in 'make(name)' must be literals: strings, numbers", []),
    ("shop:make(**{})", "must be literals", []),
    ("shop:make(", "'make(' does not name an object; write object, object.attribute or factory(", []),
    ("shop:make()()", "'make()()' does not name an object", []),
    ("shop:app or make", "'app or make' does not name an object", []),
    ("shop:number()", "the factory is an object of type 'int', which can't be called; leave out", []),
    ("shop:fails()", "the factory in 'shop:fails()' failed", ["in fails", "LookupError: no shelf"]),
    ("shop:fails(1)", "the factory in 'shop:fails(1)' failed", ["TypeError: fails() takes 0 positional arguments"]),
    ("bad:app", "'bad:app' can't be imported", ["bad.py", "import not_there_either", "ModuleNotFoundError"]),
    ("wrong:app", "'wrong:app' can't be imported", ["wrong.py", "SyntaxError"]),
    ("ends:app", "'ends:app' can't be imported", ["sys.exit(7)", "SystemExit: 7"]),
    ("shop.app", "there is no module 'shop.app'; write 'shop:app'", []),
    (
        "counted",
        "'counted:app' is an object of type 'int', which can't be called; name the object: counted:object (available: wsgi)",
        [],
    ),
]


def is_theirs(output):
    """Whether a traceback contains frames that are not the user's code."""
    return re.search(r'File "[^"]*(/amboss/|<frozen|importlib)|\.rs:\d', output)


@pytest.mark.parametrize(("target", "sentence", "lines"), BAD)
def test_a_bad_target_is_explained_with_only_the_users_frames(folder, target, sentence, lines):
    code, output = run(["-p", "0", "-q", target], folder)
    assert code == 2, output
    last = output.rstrip().splitlines()[-1]
    assert last.startswith("amboss: ") and sentence in last, output
    for line in lines:
        assert line in output
    assert output.count("amboss: ") == 1 and not is_theirs(output), output
    assert len(output.splitlines()) == 1 or lines, output


@pytest.mark.parametrize("more", [["-w", "2"], ["--timeout", "9"]])
@pytest.mark.parametrize(("target", "sentence", "lines"), [BAD[0], BAD[6], BAD[16], BAD[18]])
def test_workers_that_can_not_start_are_not_retried_forever(folder, more, target, sentence, lines):
    code, output = run(["-p", "0", *more, target], folder)
    assert code == 2, output
    assert output.count(sentence) == 1 and not is_theirs(output), output
    for line in lines:
        assert output.count(line) == 1, output


@pytest.mark.parametrize(("target", "sentence", "lines"), BAD)
def test_with_reloading_a_page_explains_a_bad_target(folder, target, sentence, lines):
    with serving_command(folder, "-r", target) as server:
        response = server.get(headers="Accept: text/html\r\n")
        assert response.status == 503
        page = response.body.decode()
        plain = html.unescape(re.sub(r"<[^>]*>", "", page))
        for line in [sentence, *lines]:
            assert line in plain, plain
        assert not is_theirs(plain), plain
        assert server.process.poll() is None


def test_a_factory_called_as_an_application_is_explained(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", "def make(name, debug):\n    return lambda environ, start_response: []\n")
    with serving_command(folder.path, "shop:make") as server:
        assert server.get().status == 500
        server.wait_until(lambda: "name what it returns: module:factory(...)" in server.log(), "the advice")


def test_an_interrupted_import_is_not_reported_as_an_error(folder, tmp_path):
    lazy = Folder(tmp_path / "work")
    lazy.save("lazy.py", "import time\nopen('here', 'w').close()\ntime.sleep(60)\n")
    for more, expected in [([], 130), (["-w", "2"], 0)]:
        (lazy.path / "here").unlink(missing_ok=True)
        server = start(["-p", "0", "lazy:app", *more], lazy.path)
        try:
            wait_until((lazy.path / "here").exists, "the import")
            server.interrupt()
            assert server.wait_for_exit() == expected, server.log()
        finally:
            server.terminate()
        assert "Traceback" not in server.log() and "can't be" not in server.log()


class TestBinary:
    """The binary finds a Python interpreter and serves the same applications."""

    @pytest.fixture(autouse=True)
    def binary(self):
        if BINARY is None:
            pytest.skip("the command as a program was not built: AMBOSS_TEST_COMMAND names none")

    @pytest.mark.parametrize("way", ["--python", "--python folder", "VIRTUAL_ENV", ".venv"])
    def test_the_binary_finds_an_interpreter(self, folder, tmp_path, way):
        work = Folder(tmp_path / "work")
        work.save("pyproject.toml", "")
        work.save("shop.py", SHOP)
        arguments, env = [], {}
        if way == "--python":
            arguments = ["--python", sys.executable]
        elif way == "--python folder":
            arguments = [f"--python={sys.prefix}"]
        elif way == "VIRTUAL_ENV":
            env = {"VIRTUAL_ENV": sys.prefix}
        else:
            (work.path / ".venv").symlink_to(sys.prefix)
        with serving_command(work.path, *arguments, "shop:make(n=1)", way=[BINARY], env=env) as server:
            assert server.version() == ("made()[('n', 1)]", server.pid)

    def test_workers_and_reloading(self, tmp_path):
        work = Folder(tmp_path / "work")
        work.save("shop.py", app("one"))
        python = ["--python", sys.executable]
        with serving_command(work.path, *python, "-r", "-w", "2", "shop", way=[BINARY]) as server:
            server.wait_for_version("one")
            work.save("shop.py", app("three"))
            server.wait_for_version("three")
            server.wait_for_workers(2)
            server.signal("SIGTERM")
            assert server.wait_for_exit() == 0

    def test_the_exit_code_is_the_interpreters(self, folder):
        code, output = run(["--python", sys.executable, "-p", "0", "shop:nothing"], folder, [BINARY])
        assert (code, output.strip()) == (
            2,
            "amboss: module 'shop' has no 'nothing' (available: app, Sites, make, fails)",
        )


@pytest.mark.parametrize("way", WAYS)
def test_without_a_target_the_test_application_is_served(folder, way):
    with serving_command(folder, way=WAYS[way]) as server:
        response = server.get("/here?a=b")
        assert response.status == 200 and b"/here" in response.body
        server.interrupt()
        assert server.wait_for_exit() == 0, server.log()


@pytest.mark.parametrize("way", WAYS)
def test_help_and_version_are_printed(folder, way):
    import amboss

    code, output = run(["--help"], folder, WAYS[way])
    assert code == 0
    assert "module:factory()" in output and "Usage: amboss [OPTIONS] [APP]" in output
    assert run(["--version"], folder, WAYS[way]) == (0, f"amboss {amboss.__version__}\n")


def test_a_development_certificate_is_made_and_used(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", SHOP)
    env = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    code, output = run(["devcert"], folder.path, env=env)
    assert code == 0 and "devcert.crt and devcert.key are ready" in output, output
    tls = ["--cert", "devcert.crt", "--key", "devcert.key"]
    with serving_command(folder.path, *tls, "shop", env=env) as server:
        assert "Running on https://" in server.banner
        response = server.get()
        # A plain HTTP request is redirected to HTTPS.
        assert response.status in (301, 307, 308) and response.header("Location").startswith("https://"), response


def test_a_wrong_command_line_is_explained(folder):
    for arguments, sentence in [
        (["shop", "--no-such-flag"], "--no-such-flag"),
        (["shop", "--threads", "0"], "0 is not in 1..=10000"),
        (["shop", "--processes", "2"], "use --workers N instead"),
        (["--timeout", "3"], "--timeout is for a Python application"),
    ]:
        code, output = run(arguments, folder)
        assert code == 2 and sentence in output, output


#: A program that opens a listening socket as descriptor 3 and becomes its arguments.
PASSES_A_SOCKET = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
def test_an_inherited_socket_is_served_by_its_number(folder, arguments):
    way = [sys.executable, "-c", PASSES_A_SOCKET, *MODULE]
    with serving_words(["--bind", "fd://3", *arguments, "site1.py"], folder, way=way) as server:
        assert server.get().status == 200
    # Two listeners on one descriptor would close it twice.
    code, output = run(["--bind", "fd://3", "--bind", "fd://3", "site1.py"], folder, way)
    assert code == 1 and "fd://3: it is in use already; name each descriptor once" in output, output
