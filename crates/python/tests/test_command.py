"""``amboss APP``: what names an application, what is said when it does not, and the ways to start the command."""

import re
import sys

import pytest
from commands import BINARY, INSTALLED, MODULE, Folder, app, run, serving_command, serving_words, start
from programs import wait_for

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

#: Applications of many shapes; all are called.
SHAPES = """
import functools

def answer(start_response, name):
    start_response("200 OK", [])
    return [f"{name} {__import__('os').getpid()}".encode()]

def any(*args, **kwargs):
    return answer(args[1], "any")

def defaulted(environ, start_response, extra=None):
    return answer(start_response, "defaulted")

class Class:
    def __init__(self, environ, start_response):
        self.body = answer(start_response, "class")
    def __iter__(self):
        return iter(self.body)

class Instance:
    def __call__(self, environ, start_response):
        return answer(start_response, "instance")
    def method(self, environ, start_response):
        return answer(start_response, "method")
    @staticmethod
    def static(environ, start_response):
        return answer(start_response, "static")

instance = Instance()
partial = functools.partial(lambda name, environ, start_response: answer(start_response, name), "partial")

def create_app():
    pass

@functools.wraps(create_app)
def wrapped(environ, start_response):
    return answer(start_response, "wrapped")
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
def test_a_target_is_found(folder, target, answers):
    with serving_command(folder, target) as server:
        assert server.version() == (answers, server.pid)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [[], ["-w", "2"]])
def test_the_current_folder_can_be_imported_from_whichever_way_the_command_is_started(folder, way, more):
    with serving_command(folder, "shop", *more, way=WAYS[way]) as server:
        assert server.version()[0] == "plain"


@pytest.mark.parametrize(
    ("target", "answers"),
    [(name, name.rpartition(".")[2].lower()) for name in ["any", "defaulted", "Class", "instance", "partial", "wrapped"]]
    + [(f"instance.{name}", name) for name in ["method", "static"]],
)
def test_an_application_of_any_shape_is_served(folder, target, answers):
    with serving_command(folder, f"shapes:{target}") as server:
        assert server.version()[0] == answers


PATCHED = {
    "gevent": ("import gevent.monkey\ngevent.monkey.patch_all()\n", "gevent.monkey.patch_all"),
    "eventlet": ("import eventlet\neventlet.monkey_patch()\n", "eventlet.monkey_patch"),
}


@pytest.mark.parametrize("by", PATCHED)
@pytest.mark.parametrize("more", [[], ["-w", "2"], ["--preload"]])
def test_a_program_with_green_threads_is_refused(tmp_path, by, more):
    pytest.importorskip(by)
    patch, called = PATCHED[by]
    folder = Folder(tmp_path / "work")
    folder.save("green.py", patch + app("green"))
    code, said = run(["-p", "0", "-q", *more, "green:app"], folder.path)
    assert code == 2, said
    assert said.count("amboss: ") == 1 and said.count(called) == 1 and "remove that call" in said, said


@pytest.mark.parametrize("by", PATCHED)
def test_a_script_with_green_threads_is_refused(tmp_path, by):
    pytest.importorskip(by)
    patch, called = PATCHED[by]
    for options in ["", ", use_reloader=True"]:
        folder = Folder(tmp_path / f"work{len(options)}")
        serve = f"from amboss import run_simple\nrun_simple('127.0.0.1', 0, app{options})\n"
        folder.save("serve.py", patch + app("green") + serve)
        code, said = run(["serve.py"], folder.path, [sys.executable])
        assert code == 2 and said.startswith("amboss: ") and called in said, said
    folder.save("make.py", patch + "import amboss\namboss.make_server('127.0.0.1', 0, lambda *_: [])\n")
    code, said = run(["make.py"], folder.path, [sys.executable])
    assert code == 1 and "RuntimeError: Python's threads were replaced" in said, said


def test_green_threads_that_only_lie_around_are_no_reason(tmp_path):
    pytest.importorskip("gevent")
    folder = Folder(tmp_path / "work")
    folder.save("green.py", "import gevent.monkey\ngevent.monkey.patch_socket()\n" + app("green"))
    with serving_command(folder.path, "green:app") as server:
        assert server.version()[0] == "green"


def test_a_path_from_elsewhere(folder):
    with serving_command(folder / "parts", str(folder / "my shop/front-desk.py")) as server:
        assert server.version()[0] == "desk"


MAKES = "can't be called with environ and start_response; if it makes the application, "

#: The target; what is said; the lines of the traceback that are the user's, if there are any.
BAD = [
    ("nowhere:app", "there is no module 'nowhere'; was the command started in the project's folder (", []),
    ("parts.nowhere:app", "there is no module 'parts.nowhere'", []),
    ("nowhere.py", "there is no file 'nowhere.py'; fix the path, or name a module", []),
    ("parts/nowhere", "there is no file 'parts/nowhere'", []),
    ("parts/inner", "'parts/inner' is a folder; name the package: parts.inner", []),
    ("parts/inner/", "'parts/inner/' is a folder; name the package: parts.inner", []),
    ("my shop/", "'my shop/' is a folder; name a file in it, as in my shop/front-desk.py", []),
    ("nothing/", "'nothing/' is a folder; name a .py file, or a module", []),
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
    ("counted", "'counted:app' is an object of type 'int', which can't be called; name the object: counted:object (available: wsgi)", []),
]


def is_theirs(said):
    """Does a traceback show frames that are not the user's?"""
    return re.search(r'File "[^"]*(/amboss/|<frozen|importlib)|\.rs:\d', said)


@pytest.mark.parametrize(("target", "sentence", "lines"), BAD)
def test_what_can_not_be_served_is_said_with_the_users_own_frames(folder, target, sentence, lines):
    code, said = run(["-p", "0", "-q", target], folder)
    assert code == 2, said
    last = said.rstrip().splitlines()[-1]
    assert last.startswith("amboss: ") and sentence in last, said
    for line in lines:
        assert line in said
    assert said.count("amboss: ") == 1 and not is_theirs(said), said
    assert len(said.splitlines()) == 1 or lines, said


@pytest.mark.parametrize("more", [["-w", "2"], ["--timeout", "9"]])
@pytest.mark.parametrize(("target", "sentence", "lines"), [BAD[0], BAD[6], BAD[16], BAD[18]])
def test_workers_of_what_can_not_be_served_are_not_tried_for_ever(folder, more, target, sentence, lines):
    code, said = run(["-p", "0", *more, target], folder)
    assert code == 2, said
    assert said.count(sentence) == 1 and not is_theirs(said), said
    for line in lines:
        assert said.count(line) == 1, said


@pytest.mark.parametrize(("target", "sentence", "lines"), BAD)
def test_with_reloading_the_page_says_what_is_wrong(folder, target, sentence, lines):
    with serving_command(folder, "-r", target) as server:
        answer = server.get(headers="Accept: text/html\r\n")
        assert answer.status == 503
        page = answer.body.decode()
        plain = re.sub(r"<[^>]*>", "", page).replace("&#39;", "'").replace("&quot;", '"').replace("&amp;", "&")
        for line in [sentence, *lines]:
            assert line in plain, plain
        assert not is_theirs(plain), plain
        assert server.process.poll() is None


def test_a_factory_that_is_called_like_an_application_says_how_to_name_it(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", "def make(name, debug):\n    return lambda environ, start_response: []\n")
    with serving_command(folder.path, "shop:make") as server:
        assert server.get().status == 500
        server.eventually("the advice", lambda: "name what it returns: module:factory(...)" in server.log())


def test_an_interrupted_import_is_no_error(folder, tmp_path):
    lazy = Folder(tmp_path / "work")
    lazy.save("lazy.py", "import time\nopen('here', 'w').close()\ntime.sleep(60)\n")
    for more, expected in [([], 130), (["-w", "2"], 0)]:
        (lazy.path / "here").unlink(missing_ok=True)
        server = start(["-p", "0", "lazy:app", *more], lazy.path)
        try:
            wait_for("the import", (lazy.path / "here").exists)
            server.interrupt()
            assert server.ended() == expected, server.log()
        finally:
            server.end()
        assert "Traceback" not in server.log() and "can't be" not in server.log()


class TestBinary:
    """The command that is no Python finds one, and serves the same."""

    @pytest.fixture(autouse=True)
    def binary(self):
        if BINARY is None:
            pytest.skip("the command as a program was not built: AMBOSS_TEST_COMMAND names none")

    @pytest.mark.parametrize("way", ["--python", "--python folder", "VIRTUAL_ENV", ".venv"])
    def test_the_interpreter_is_found_and_serves(self, folder, tmp_path, way):
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
            server.serves("one")
            work.save("shop.py", app("three"))
            server.serves("three")
            server.workers(2)
            server.signal("SIGTERM")
            assert server.ended() == 0

    def test_its_exit_code_is_the_interpreters(self, folder):
        code, said = run(["--python", sys.executable, "-p", "0", "shop:nothing"], folder, [BINARY])
        assert (code, said.strip()) == (2, "amboss: module 'shop' has no 'nothing' (available: app, Sites, make, fails)")


@pytest.mark.parametrize("way", WAYS)
def test_without_an_application_the_test_application_answers(folder, way):
    with serving_command(folder, way=WAYS[way]) as server:
        answer = server.get("/here?a=b")
        assert answer.status == 200 and b"/here" in answer.body
        server.interrupt()
        assert server.ended() == 0, server.log()


@pytest.mark.parametrize("way", WAYS)
def test_help_and_version(folder, way):
    import amboss

    code, said = run(["--help"], folder, WAYS[way])
    assert code == 0
    assert "module:factory()" in said and "Usage: amboss [OPTIONS] [APP]" in said
    assert run(["--version"], folder, WAYS[way]) == (0, f"amboss {amboss.__version__}\n")


def test_a_certificate_for_development_is_made_and_used(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", SHOP)
    env = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    code, said = run(["devcert"], folder.path, env=env)
    assert code == 0 and "devcert.crt and devcert.key are ready" in said, said
    tls = ["--cert", "devcert.crt", "--key", "devcert.key"]
    with serving_command(folder.path, *tls, "shop", env=env) as server:
        assert "Running on https://" in server.banner
        answer = server.get()
        # Plain HTTP is sent to where it should have gone.
        assert answer.status in (301, 307, 308) and answer.header("Location").startswith("https://"), answer


def test_a_command_line_that_can_not_be_followed(folder):
    for arguments, sentence in [
        (["shop", "--no-such-flag"], "--no-such-flag"),
        (["shop", "--threads", "0"], "0 is not in 1..=10000"),
        (["shop", "--processes", "2"], "use --workers N instead"),
        (["--timeout", "3"], "--timeout is for a Python application"),
    ]:
        code, said = run(arguments, folder)
        assert code == 2 and sentence in said, said


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
def test_a_socket_that_was_passed_on_is_served_by_its_number(folder, arguments):
    way = [sys.executable, "-c", PASSES_A_SOCKET, *MODULE]
    with serving_words(["--bind", "fd://3", *arguments, "site1.py"], folder, way=way) as server:
        assert server.get().status == 200
    # Its owner would have it closed.
    code, said = run(["--bind", "fd://3", "--bind", "fd://3", "site1.py"], folder, way)
    assert code == 1 and "fd://3: it is in use already; name each descriptor once" in said, said
