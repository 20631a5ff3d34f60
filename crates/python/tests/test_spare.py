"""``amboss -r --spare``: an interpreter that has imported the libraries takes the place of the worker after a save."""

import contextlib
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

from commands import Folder, is_alive, run, serving_command

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the spare by /proc")

#: True in a process that was started as a spare. Other variables may contain the name as well.
IN_SPARE = r"b'\0AMBOSS_CHILD_SPARE=' in open('/proc/self/environ', 'rb').read()"

#: An application that responds with an expression and its process.
RESPONDS = """
import os
def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{EXPRESSION} {os.getpid()}".encode()]
"""


def responding(expression):
    return RESPONDS.replace("EXPRESSION", expression)


class Project(Folder):
    """The directory of a program, and beside it one of installed libraries."""

    def __init__(self, path):
        super().__init__(path / "work")
        self.installed = Folder(path / "site-packages")

    def serving(self, *arguments, target="shop:app"):
        more = {"env": {"PYTHONPATH": str(self.installed.path)}}
        return serving_command(self.path, "-r", "--spare", *arguments, target, **more)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def cpu_time(pid):
    """Returns the state of a process and the processor time that it has used."""
    with open(f"/proc/{pid}/stat") as file:
        words = file.read().rpartition(") ")[2].split()
    return words[0], words[11], words[12]


def spares(server):
    """Returns the processes that were started as spares, those that have become workers included."""
    found = set()
    for pid in server.processes():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if b"\0AMBOSS_CHILD_SPARE=" in b"\0" + file.read():
                found.add(pid)
    return found


def wait_for_spare(server, served):
    """Waits for a spare that waits itself. Returns its process, which is none of those that have served."""
    looks = {}

    def ask():
        for pid in spares(server) - served:
            with contextlib.suppress(OSError):
                look = cpu_time(pid)
                # While it imports, it runs or wants to run.
                if look[0] == "S" and looks.get(pid) == look:
                    return pid
                looks[pid] = look
        return None

    return server.wait_until(ask, "a spare that waits")


def wait_until_spare_gives_up(server, served):
    """Waits for a spare, and until it has ended by itself."""
    server.wait_until(lambda: spares(server) - served, "a spare")
    server.wait_until(lambda: not spares(server) - served, "the end of the spare")


@linux
def test_the_spare_becomes_the_worker_and_the_next_one_follows(project):
    project.installed.save("lib.py", "NAME = 'lib'\n")
    project.save("shop.py", "import lib\n" + responding("'one'"))
    with project.serving() as server:
        served = {server.wait_for_version("one")}
        for version in ("two", "three", "four"):
            spare = wait_for_spare(server, served)
            project.save("shop.py", "import lib\n" + responding(repr(version)))
            assert server.wait_for_version(version) == spare, server.log()
            served.add(spare)
        last = wait_for_spare(server, served)
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0
        assert not is_alive(last)


@linux
@pytest.mark.parametrize("how", ["save", "hup"])
def test_one_of_several_new_workers_was_the_spare(project, how):
    project.save("shop.py", "import json\n" + responding("'one'"))
    with project.serving("-w", "2") as server:
        server.wait_for_version("one")
        spare = wait_for_spare(server, set())
        if how == "save":
            project.save("shop.py", "import json\n" + responding("'two'"))
        else:
            server.signal("SIGHUP")
        server.wait_until(lambda: server.version()[1] == spare, "the spare to serve")
        server.wait_for_version("two" if how == "save" else "one")


@linux
@pytest.mark.parametrize(
    "library", ["", f"import time\n{IN_SPARE} and time.sleep(300)\n"], ids=["waiting", "importing"]
)
def test_a_spare_ends_with_its_supervisor(project, library):
    project.installed.save("lib.py", library)
    project.save("shop.py", "import lib\n" + responding("'one'"))
    with project.serving() as server:
        spare = wait_for_spare(server, {server.wait_for_version("one")})
        server.signal("SIGKILL")
        server.wait_until(lambda: not is_alive(spare), "the end of the spare")


@linux
def test_a_library_is_imported_after_what_the_program_does_before(project):
    """The program sets a variable that one of two libraries reads: that one is not imported ahead of time."""
    for name in ("early", "late"):
        project.installed.save(f"{name}.py", "import os\nSETTING = os.environ.get('SETTING')\n")
    begin = "import os, early\nos.environ['SETTING'] = 'set'\nimport late\n"
    project.save("shop.py", begin + responding("early.SETTING, late.SETTING"))
    with project.serving() as server:
        served = {server.wait_for_version("(None, 'set')")}
        spare = wait_for_spare(server, served)
        project.save("shop.py", begin.replace("'set'", "'other'") + responding("early.SETTING, late.SETTING"))
        assert server.wait_for_version("(None, 'other')") == spare


@linux
@pytest.mark.parametrize(
    "change", ["program", "module", "appended", "filled", "library", "data", "shadow", "optional", "installed", "listed"]
)
def test_a_spare_that_is_out_of_date_is_not_used(project, change):
    data = project.installed.save("data.txt", "one")
    library = f"""
        import os
        NAME = os.environ.get('NAME') or open({str(data)!r}).read()
        NAME = os.listdir('plugins')[0] if os.path.exists('plugins') else NAME
        try:
            from optional import NAME
        except ImportError:
            pass
    """
    project.installed.save("lib.py", library)
    project.save("part.py", "import json\n")
    project.save("empty.py", "")
    project.save("shop.py", "import part, empty, lib\n" + responding("lib.NAME"))
    if change == "listed":
        project.save("plugins/one", "")
    with project.serving("--extra-files", str(project.installed.path)) as server:
        served = {server.wait_for_version("one")}
        spare = wait_for_spare(server, served)
        if change == "program":
            project.save("shop.py", "import os\nos.environ['NAME'] = 'two'\nimport lib\n" + responding("lib.NAME"))
        elif change == "module":
            project.save("part.py", "import os\nos.environ['NAME'] = 'two'\nimport lib\n")
        elif change == "appended":
            project.save("part.py", "import json\nimport os\nos.environ['NAME'] = 'two'\n")
        elif change == "filled":
            project.save("empty.py", "import os\nos.environ['NAME'] = 'two'\n")
        elif change == "library":
            project.installed.save("lib.py", "NAME = 'two'\n")
        elif change == "data":
            project.installed.save("data.txt", "two")
        else:
            if change == "listed":
                (project.path / "plugins/one").rename(project.path / "plugins/two")
            else:
                folder = project.installed if change == "installed" else project
                folder.save("lib.py" if change == "shadow" else "optional.py", "NAME = 'two'\n")
            project.save("shop.py", "import part, empty, lib\n" + responding("lib.NAME") + "#\n")
        assert server.wait_for_version("two") != spare
        server.wait_until(lambda: not is_alive(spare), "the end of the spare")


@linux
@pytest.mark.parametrize(
    "effect",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import socket; KEPT = socket.socket()",
        "import socket; s = socket.create_server(('', 0)); socket.create_connection(s.getsockname()).close(); s.close()",
        "import subprocess; subprocess.call(['true'])",
        "open(__file__ + '.log', 'w').close()",
        "import os; os.mkdir(__file__ + '.folder')",
        pytest.param("import gevent", marks=pytest.mark.skipif(find_spec("gevent") is None, reason="needs gevent")),
        "import part",
        "import sys; sys.path.insert(0, '/nowhere')",
        "import sys, types; sys.modules['part'] = types.ModuleType('part')",
        f"{IN_SPARE} and 1 / 0",
    ],
)
def test_a_spare_ends_if_a_library_does_more_than_define(project, effect):
    project.installed.save("lib.py", effect + "\n")
    project.save("part.py", "")
    project.save("shop.py", "import lib, part\n" + responding("'one'"))
    with project.serving() as server:
        served = {server.wait_for_version("one")}
        made = set(project.installed.path.iterdir())
        for path in made - {project.installed.path / "lib.py"}:
            path.rmdir() if path.is_dir() else path.unlink()
        wait_until_spare_gives_up(server, served)
        # It ended before the effect.
        assert list(project.installed.path.iterdir()) == [project.installed.path / "lib.py"]
        project.save("shop.py", "import lib, part\n" + responding("'two'"))
        server.wait_for_version("two")


@linux
def test_a_file_in_a_folder_that_a_library_leaves_is_found_again(project):
    project.installed.save("lib.py", "import os\nos.chdir('/')\n")
    project.save("shop.py", "import lib\n" + responding("'one'"))
    with project.serving(target="./shop.py:app") as server:
        served = {server.wait_for_version("one")}
        wait_until_spare_gives_up(server, served)
        project.save("shop.py", "import lib\n" + responding("'two'"))
        server.wait_for_version("two")


@linux
def test_the_save_that_repairs_a_program_finds_a_spare(project):
    project.save("shop.py", responding("'one'"))
    with project.serving("--error-page") as server:
        served = {server.wait_for_version("one")}
        served.add(wait_for_spare(server, served))
        project.save("shop.py", "import json\n1 / 0\n")
        server.wait_until(lambda: server.get().status == 503, "the page")
        spare = wait_for_spare(server, served)
        project.save("shop.py", "import json\n" + responding("'two'"))
        assert server.wait_for_version("two") == spare


#: Reports everything about the interpreter that a program or a library could have changed before the first request.
STATE = """
import json, locale, logging, os, signal, socket, sys, threading, warnings

def app(environ, start_response):
    start_response("200 OK", [])
    state = {
        "version": VERSION,
        "pid": os.getpid(),
        "modules": sorted(sys.modules),
        "path": sys.path,
        "finders": [repr(finder).split(" at ")[0] for finder in sys.meta_path],
        "environment": sorted(f"{key}={value}" for key, value in os.environ.items() if key != "AMBOSS_GENERATION"),
        "warnings": [str(entry) for entry in warnings.filters],
        "signals": [repr(signal.getsignal(number)).split(" at ")[0] for number in sorted(signal.valid_signals())],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "loggers": sorted(logging.root.manager.loggerDict),
        "handlers": [repr(handler) for handler in logging.root.handlers],
        "level": logging.root.level,
        "locale": locale.setlocale(locale.LC_ALL),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": sorted(os.listdir("/proc/self/fd"), key=int),
        "timeout": socket.getdefaulttimeout(),
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "arguments": [sys.argv, list(sys.flags), getattr(sys, "orig_argv", None)],
        "directory": os.getcwd(),
        "library": [lib.IMPORTER, lib.ENVIRONMENT],
        "generation": int(os.environ["AMBOSS_GENERATION"]) > VERSION,
        "streams": [sys.stdout.name, sys.stderr.name, sys.stderr.line_buffering],
    }
    return [json.dumps(state, default=repr).encode()]
"""


@linux
@pytest.mark.parametrize(
    "libraries", ["flask", "django.core.wsgi, django.db.models", "falcon, bottle, requests", "numpy"]
)
def test_a_worker_that_was_a_spare_is_like_any_other(project, libraries):
    library = """
        import os, sys
        ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "AMBOSS_GENERATION"}
        frame = sys._getframe()
        while frame.f_back is not None and "importlib" in frame.f_back.f_code.co_filename:
            frame = frame.f_back
        frame = frame.f_back
        IMPORTER = [frame.f_globals["__name__"], frame.f_code.co_filename, frame.f_lineno]
    """
    project.installed.save("lib.py", library)
    begin = f"import {libraries}\nimport lib\n"
    project.save("shop.py", f"{begin}VERSION = 0\n{STATE}")
    with project.serving() as server:
        started = server.json()
        served = {started.pop("pid")}
        started.pop("version")
        spare = wait_for_spare(server, served)
        project.save("shop.py", f"{begin}VERSION = 1\n{STATE}")

        def ask():
            state = server.json()
            return state if state.pop("version") == 1 else None

        reloaded = server.wait_until(ask, "the new version")
        assert reloaded.pop("pid") == spare
        # Only these modules know how the interpreter was prepared.
        reloaded["modules"].remove("amboss._spare")
        assert reloaded == started


def test_flags_that_exclude_a_spare_say_why(project):
    for words, reason in [
        (["--spare", "shop:app"], "--reload"),
        (["-r", "--spare", "-k", "gevent", "shop:app"], "before greenlets replace"),
        (["-r", "--spare", "."], "for a Python application"),
    ]:
        code, output = run(words, project.path)
        assert code == 2 and reason in output, output


@pytest.fixture
def beginning(tmp_path, monkeypatch):
    """Returns a function that lists the imports with which a program begins, given its files."""
    from amboss import _spare

    monkeypatch.syspath_prepend(str(tmp_path))

    def ask(files, name="shop"):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return [(one.module, one.names) for one in _spare._Imports(name, {})]

    return ask


@pytest.mark.parametrize(
    "source, imports",
    [
        ("", []),
        ("import json", [("json", ())]),
        ("'text'\nfrom __future__ import annotations\nimport json, os.path as p", [("json", ()), ("os.path", ())]),
        ("from json import dumps, loads as l", [("json", ("dumps", "loads"))]),
        ("import json\nX = Y = ('a', {'b': 1})\nimport os", [("json", ()), ("os", ())]),
        ("import json\n__all__ = ['a', *b]\nimport os", [("json", ())]),
        ("import json\nX: int = 1\nimport os", [("json", ())]),
        ("import json\nX.y = 1\nimport os", [("json", ())]),
        ("import json\nX = f()\nimport os", [("json", ())]),
        ("import json\ndef f(x=g()): pass\nimport os", [("json", ())]),
        ("import json\ntry:\n    import ujson\nexcept ImportError:\n    pass\nimport os", [("json", ())]),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a\nimport os", [("typing", ()), ("os", ())]),
        ("TYPE_CHECKING = True\nif TYPE_CHECKING:\n    import a\nimport os", []),
        ("import typing\ntyping = X\nif typing.TYPE_CHECKING:\n    import os", [("typing", ())]),
        ("import typing\ntyping = 1\nif typing.TYPE_CHECKING:\n    import os\nimport json", [("typing", ())]),
        ("import json\nX = set()\nimport os", [("json", ())]),
        ("import json\n__path__ = ['a']\nimport os", [("json", ())]),
        ("from json import *\nimport os", []),
        ("import json\nimport nowhere_at_all\nimport os", [("json", ())]),
        ("import json\nthis is no Python", []),
        ("import json; print('x')\nimport os", [("json", ())]),
    ],
)
def test_a_program_begins_with_the_imports_before_any_other_statement(beginning, source, imports):
    assert beginning({"shop.py": source}) == imports


def test_no_module_of_an_installed_program_is_imported_ahead_of_time(beginning):
    assert beginning({}, "flask") == beginning({}, "json") == []


def test_modules_of_the_program_are_followed(beginning, tmp_path):
    files = {
        "pack/__init__.py": "import json\nfrom .first import NAME\nfrom . import second\nimport textwrap",
        "pack/first.py": "from string import Template\nNAME = 'n'",
        "pack/second.py": "from ..pack import first\nfrom pack import NAME\nimport decimal\nrun()",
        "shop.py": "import pack.first\nimport os",
    }
    done = [("json", ()), ("string", ("Template",))]
    assert beginning(files) == done, "a relative import beyond the package fails"
    files["pack/second.py"] = files["pack/second.py"].replace("..pack", ".")
    assert beginning({**files, "pack/first.py": "run()"}) == done[:1]
    assert beginning({**files, "pack/NAME.py": ""}) == done, "NAME may be the module"
    renamed = files["pack/__init__.py"].replace("import second", "import second as NAME")
    assert beginning({**files, "pack/__init__.py": renamed}) == done
    (tmp_path / "pack/NAME.py").unlink()
    done.append(("decimal", ()))
    assert beginning(files) == done
    files["pack/second.py"] = "import decimal"
    assert beginning(files) == [*done, ("textwrap", ()), ("os", ())]
    assert beginning(files, "pack.second") == [*done, ("textwrap", ())]


def test_the_observer_sees_the_events_of_an_audit_hook_and_can_prevent_them(tmp_path):
    """In a process of its own, since a hook of ``sys.addaudithook`` can't be removed."""
    script = """
        import os, sys
        from amboss._amboss import observe

        path = sys.argv[1]
        ours, theirs = [], []
        record = lambda event, arguments: ours.append((event, arguments))
        # Registered last, so that it sees what the other one does not prevent.
        observe(None)
        sys.addaudithook(lambda event, arguments: theirs.append((event, arguments)))

        def work():
            open(path, "w").close()
            os.listdir(os.path.dirname(path))
            os.remove(path)
            compile("1", "text", "eval")

        observe(record)
        theirs.clear()
        work()
        count = len(theirs)
        observe(None)
        assert ours and ours == theirs[:count], (ours, theirs)
        ours.clear()
        work()
        assert not ours

        def prevent(event, arguments):
            if event == "open":
                raise PermissionError("prevented")

        observe(prevent)
        try:
            open(path, "w")
        except PermissionError as error:
            assert str(error) == "prevented"
        else:
            raise AssertionError("not prevented")
        observe(None)
        assert not os.path.exists(path)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "file")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
