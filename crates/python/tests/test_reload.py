"""``amboss -r``: every change of the application's files is served; broken code shows a page or is not loaded."""

import html
import re

import pytest

from commands import Folder, app, is_alive, serving_command
from waiting import wait_until


def importing(module):
    """Returns an application whose version is defined in another module."""
    return f"import {module}\n{app('?')}VERSION = {module}.NAME\n"


#: An application that imports a module only in a request.
LAZY = """
import os

def app(environ, start_response):
    import later
    start_response("200 OK", [])
    return [f"{later.NAME} {os.getpid()}".encode()]
"""

HTML = "Accept: text/html\r\n"


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "work")


def reloading(folder, *arguments, target="shop:app", **more):
    return serving_command(folder.path, "-r", *arguments, target, **more)


def page(server, part=""):
    """Waits for the error page that contains ``part``, and returns its text."""

    def ask():
        response = server.get(headers=HTML)
        text = html.unescape(re.sub(r"<[^>]*>", "", response.body.decode()))
        return text if response.status == 503 and part in text else None

    return server.wait_until(ask, "the page")


@pytest.mark.parametrize("how", [[], ["--reloader-type", "stat", "--reloader-interval", "0.1"], ["-w", "2"]])
def test_a_saved_file_is_served_by_another_process(folder, how):
    folder.save("shop.py", app("one"))
    with reloading(folder, *how) as server:
        before = server.wait_for_version("one")
        folder.save("shop.py", app("two"))
        assert server.wait_for_version("two") not in (before, server.pid)
        # A worker that was starting when the file was saved may serve it before the supervisor detects the change.
        (path,) = server.wait_until(
            lambda: re.findall(r" \* Detected change in '(.*)', reloading", server.log()), "the change to be detected"
        )
        assert path == str(folder.path / "shop.py")
        # Overwritten in place, as some editors do.
        (folder.path / "shop.py").write_text(app("three"))
        server.wait_for_version("three")
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0


@pytest.mark.parametrize(
    "module", ["names", "parts.names", pytest.param("parts", id="the __init__ of a package"), "parts.inner.names"]
)
def test_a_saved_module_is_served(folder, module):
    if module.startswith("parts"):
        folder.save("parts/__init__.py", "")
        folder.save("parts/inner/__init__.py", "")
    path = "parts/__init__.py" if module == "parts" else module.replace(".", "/") + ".py"
    folder.save(path, "NAME = 'one'\n")
    folder.save("shop.py", importing(module))
    with reloading(folder) as server:
        server.wait_for_version("one")
        folder.save(path, "NAME = 'another'\n")
        server.wait_for_version("another")


def test_a_saved_module_that_a_request_has_imported_is_served(folder):
    folder.save("later.py", "NAME = 'one'\n")
    folder.save("shop.py", LAZY)
    with reloading(folder) as server:
        before = server.wait_for_version("one")
        folder.save("later.py", "NAME = 'two'\n")
        assert server.wait_for_version("two") != before


#: Why the module of :data:`LAZY` can't be imported, and the file that fixes it.
LATE = {
    "syntax": ({"later.py": "def NAME(:\n"}, "later.py", "NAME = 'fixed'\n"),
    "error": ({"later.py": "1 / 0\n"}, "later.py", "NAME = 'fixed'\n"),
    "missing": ({}, "later.py", "NAME = 'fixed'\n"),
    "needs what is missing": ({"later.py": "from other import NAME\n"}, "other.py", "NAME = 'fixed'\n"),
    "needs what is broken": (
        {"later.py": "from parts.other import NAME\n", "parts/__init__.py": "", "parts/other.py": "1 / 0\n"},
        "parts/other.py",
        "NAME = 'fixed'\n",
    ),
    "a part is missing": (
        {"later.py": "from parts import other\nNAME = other.NAME\n", "parts/__init__.py": ""},
        "parts/other.py",
        "NAME = 'fixed'\n",
    ),
}


@pytest.mark.parametrize("case", LATE)
@pytest.mark.parametrize("handled", [False, True])
def test_a_module_that_a_request_could_not_import_is_watched(folder, case, handled):
    files, path, fix = LATE[case]
    for name, text in files.items():
        folder.save(name, text)
    lazy = LAZY
    if handled:
        # Frameworks handle the error and send a response themselves.
        attempt = """    try:
        import later
    except Exception:
        start_response("500 Handled", [])
        return [b""]
"""
        lazy = LAZY.replace("    import later\n", attempt)
    folder.save("shop.py", lazy)
    with reloading(folder) as server:
        assert server.get().status == 500
        folder.save(path, fix)
        # No other request is needed.
        server.wait_for_log(f"Detected change in '{folder.path / path}'")
        server.wait_for_version("fixed")
        # There was one reload only: the next one has another cause.
        folder.save("shop.py", app("last"))
        server.wait_for_version("last")
        changes = re.findall(r"Detected change in '(.*)', reloading", server.log())
        assert [re.sub(r".*/work/", "", change) for change in changes] == [path, "shop.py"], server.log()


def test_a_module_whose_import_error_was_handled_is_watched(folder):
    folder.save("extra.py", "1 / 0\n")
    folder.save(
        "shop.py",
        app("?") + "try:\n    from extra import VERSION\nexcept ZeroDivisionError:\n    VERSION = 'without'\n",
    )
    with reloading(folder) as server:
        server.wait_for_version("without")
        folder.save("extra.py", "VERSION = 'with'\n")
        server.wait_for_version("with")


def test_a_module_in_another_directory_is_watched(folder, tmp_path):
    elsewhere = Folder(tmp_path / "elsewhere")
    elsewhere.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, env={"PYTHONPATH": str(elsewhere.path)}) as server:
        server.wait_for_version("one")
        elsewhere.save("names.py", "NAME = 'two'\n")
        server.wait_for_version("two")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("def app(:\n", "SyntaxError"),
        ("import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("aplication = None\n", "'shop' has no 'app'"),
    ],
)
def test_the_old_code_serves_while_the_new_is_broken(folder, broken, what):
    folder.save("shop.py", app("one"))
    with reloading(folder) as server:
        before = server.wait_for_version("one")
        folder.save("shop.py", broken)
        server.wait_for_log("the old code keeps serving")
        assert what in server.log()
        assert server.version() == ("one", before)
        folder.save("shop.py", app("two"))
        server.wait_for_version("two")


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
def test_the_page_shows_the_traceback_until_the_code_is_fixed(folder, arguments):
    folder.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, "--error-page", *arguments) as server:
        for version in ["two", "three"]:
            folder.save("names.py", f"NAME = 'before {version}\n")
            text = page(server, f"NAME = 'before {version}")
            assert "SyntaxError" in text and "names.py" in text, text
            # Of two workers, one serves the old code until the page replaces it.
            server.wait_until(lambda: is_text(server.get()), "the page as text")
            folder.save("names.py", f"NAME = '{version}'\n")
            server.wait_for_version(version)


def is_text(response):
    return response.status == 503 and "text/plain" in response.header("Content-Type")


#: A module that can't be imported, and the file that fixes it.
MISSING = [
    ("import names", "names.py"),
    ("import names.inner as names", "names/__init__.py"),
    ("from parts import names", "parts/names.py"),
    ("from parts.names import NAME; import parts.names as names", "parts/names.py"),
    ("class names: NAME = open('names.txt').read().strip()", "names.txt"),
]


@pytest.mark.parametrize(("statement", "path"), MISSING)
@pytest.mark.parametrize("serving", [False, True])
def test_creating_a_missing_module_reloads(folder, statement, path, serving):
    folder.save("parts/__init__.py", "")
    text = statement + "\n" + app("?") + "VERSION = names.NAME\n"
    folder.save("shop.py", app("one") if serving else text)
    with reloading(folder) as server:
        if serving:
            server.wait_for_version("one")
            folder.save("shop.py", text)
            server.wait_for_log("the old code keeps serving")
        else:
            assert "Error" in page(server)
        if path == "names/__init__.py":
            folder.save("names/inner.py", "NAME = 'fixed'\n")
        folder.save(path, "fixed\n" if path.endswith(".txt") else "NAME = 'fixed'\n")
        server.wait_for_version("fixed")


def test_adding_a_missing_name_reloads(folder):
    folder.save("names.py", "")
    folder.save("shop.py", "from names import NAME\n" + app("?") + "VERSION = NAME\n")
    with reloading(folder) as server:
        assert "cannot import name 'NAME' from 'names'" in page(server)
        folder.save("names.py", "NAME = 'fixed'\n")
        server.wait_for_version("fixed")


def test_a_module_may_be_deleted_and_restored(folder):
    path = folder.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, "--error-page") as server:
        server.wait_for_version("one")
        # Now the file is known to be watched: a file that is gone before that looks like one that never was there.
        folder.save("names.py", "NAME = 'two'\n")
        server.wait_for_version("two")
        path.unlink()
        assert "No module named 'names'" in page(server)
        folder.save("names.py", "NAME = 'three'\n")
        server.wait_for_version("three")


def test_extra_files_are_watched_and_excluded_ones_are_not(folder):
    folder.save("shop.py", app("?") + "VERSION = open('config/version.txt').read()\n")
    for name in ["config/version.txt", "texts/de.txt", "texts/de.log", "data/a.csv"]:
        folder.save(name, "one")
    folder.save("names.py", "")
    folder.save("shop.py", "import names\n" + app("?") + "VERSION = open('config/version.txt').read()\n")
    extra = ["--extra-files", "config/version.txt", "--extra-files", "texts", "--extra-files", "data/*.csv"]
    with reloading(folder, *extra, "--exclude-patterns", "*.log", "--exclude-patterns", "*/names.py") as server:
        pid = server.wait_for_version("one")
        folder.save("config/version.txt", "two")
        pid = other(server, pid)
        server.wait_for_version("two")
        folder.save("texts/de.txt", "two")
        pid = other(server, pid)
        folder.save("data/b.csv", "new")
        pid = other(server, pid)
        # These are ignored; otherwise the next report would name them.
        folder.save("texts/de.log", "two")
        folder.save("names.py", "two = 2")
        folder.save("data/c.txt", "two")
        folder.save("texts/de.txt", "three")
        other(server, pid)
        changes = re.findall(r"Detected change in '.*/work/(.*), reloading", server.log())
        assert changes == ["config/version.txt'", "texts/de.txt'", "data/b.csv'", "texts/de.txt'"]


def other(server, pid):
    """Waits until another process serves and ``pid`` does not; returns the new process."""

    def ask():
        served = server.version()[1]
        return served if served not in (0, pid) else None

    new = server.wait_until(ask, "another process")
    server.wait_until(lambda: not is_alive(pid), "the end of the other process")
    return new


def test_each_worker_imports_the_application_once(folder):
    note = "open('imports', 'a').write(f'{os.getpid()}\\n')\n"
    folder.save("shop.py", app("one") + note)

    def imports():
        return [int(line) for line in (folder.path / "imports").read_text().split()]

    with reloading(folder, "-w", "2") as server:
        server.wait_for_version("one")
        first = server.wait_for_workers(2)
        wait_until(lambda: sorted(imports()) == first, "two imports")
        folder.save("shop.py", app("two") + note)
        server.wait_for_version("two")
        wait_until(lambda: len(imports()) == 4, "two more imports")
        server.wait_until(lambda: sorted(imports()[2:]) == server.wait_for_workers(2), "only the new processes")


def test_two_saves_within_a_second_are_distinguished(folder):
    """Python's bytecode cache can't tell two files of the same size and second apart."""
    folder.save("names.py", "NAME = 'version 0'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, env={"PYTHONDONTWRITEBYTECODE": ""}) as server:
        server.wait_for_version("version 0")
        for number in range(1, 8):
            folder.save("names.py", f"NAME = 'version {number}'\n")
            server.wait_for_version(f"version {number}")
