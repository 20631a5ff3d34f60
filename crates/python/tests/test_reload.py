"""``amboss -r``: a save is served, whichever file of the application it was; a broken one is shown, or waited out."""

import re

import pytest
from commands import Folder, app, is_alive, serving_command
from programs import wait_for


def importing(module):
    """An application whose version stands in another module."""
    return f"import {module}\n{app('?')}VERSION = {module}.NAME\n"


#: One that imports a module only when it is asked.
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
    """Waits for the page that says what is wrong, with that in it, and returns what stands there."""

    def ask():
        answer = server.get(headers=HTML)
        text = re.sub(r"<[^>]*>", "", answer.body.decode())
        text = text.replace("&#39;", "'").replace("&quot;", '"').replace("&amp;", "&")
        return text if answer.status == 503 and part in text else None

    return server.eventually("the page", ask)


@pytest.mark.parametrize("how", [[], ["--reloader-type", "stat", "--reloader-interval", "0.1"], ["-w", "2"]])
def test_a_save_is_served_by_another_process(folder, how):
    folder.save("shop.py", app("one"))
    with reloading(folder, *how) as server:
        before = server.serves("one")
        folder.save("shop.py", app("two"))
        assert server.serves("two") not in (before, server.pid)
        # A worker that was still starting when the file was saved can serve it before the supervisor has noticed.
        (path,) = server.eventually(
            "the change to be noticed", lambda: re.findall(r" \* Detected change in '(.*)', reloading", server.log())
        )
        assert path == str(folder.path / "shop.py")
        # In place, as some editors do.
        (folder.path / "shop.py").write_text(app("three"))
        server.serves("three")
        server.signal("SIGTERM")
        assert server.ended() == 0


@pytest.mark.parametrize(
    "module", ["names", "parts.names", pytest.param("parts", id="the __init__ of a package"), "parts.inner.names"]
)
def test_a_save_in_an_imported_module_is_served(folder, module):
    if module.startswith("parts"):
        folder.save("parts/__init__.py", "")
        folder.save("parts/inner/__init__.py", "")
    path = "parts/__init__.py" if module == "parts" else module.replace(".", "/") + ".py"
    folder.save(path, "NAME = 'one'\n")
    folder.save("shop.py", importing(module))
    with reloading(folder) as server:
        server.serves("one")
        folder.save(path, "NAME = 'another'\n")
        server.serves("another")


def test_a_save_in_a_module_that_a_request_has_imported_is_served(folder):
    folder.save("later.py", "NAME = 'one'\n")
    folder.save("shop.py", LAZY)
    with reloading(folder) as server:
        before = server.serves("one")
        folder.save("later.py", "NAME = 'two'\n")
        assert server.serves("two") != before


#: Why the module of :data:`LAZY` can't be imported, and what mends that.
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
        # As frameworks do, which answer by themselves.
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
        # Without another request.
        server.wait_for_log(f"Detected change in '{folder.path / path}'")
        server.serves("fixed")
        # And that was all: the next reload is another one's.
        folder.save("shop.py", app("last"))
        server.serves("last")
        changes = re.findall(r"Detected change in '(.*)', reloading", server.log())
        assert [re.sub(r".*/work/", "", change) for change in changes] == [path, "shop.py"], server.log()


def test_a_module_whose_failure_was_handled_at_the_start_is_watched(folder):
    folder.save("extra.py", "1 / 0\n")
    folder.save("shop.py", app("?") + "try:\n    from extra import VERSION\nexcept ZeroDivisionError:\n    VERSION = 'without'\n")
    with reloading(folder) as server:
        server.serves("without")
        folder.save("extra.py", "VERSION = 'with'\n")
        server.serves("with")


def test_a_module_that_lies_elsewhere_is_watched_as_well(folder, tmp_path):
    elsewhere = Folder(tmp_path / "elsewhere")
    elsewhere.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, env={"PYTHONPATH": str(elsewhere.path)}) as server:
        server.serves("one")
        elsewhere.save("names.py", "NAME = 'two'\n")
        server.serves("two")


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
        before = server.serves("one")
        folder.save("shop.py", broken)
        server.wait_for_log("the old code keeps serving")
        assert what in server.log()
        assert server.version() == ("one", before)
        folder.save("shop.py", app("two"))
        server.serves("two")


@pytest.mark.parametrize("arguments", [[], ["-w", "2"]])
def test_the_page_shows_the_traceback_until_it_is_mended(folder, arguments):
    folder.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, "--error-page", *arguments) as server:
        for version in ["two", "three"]:
            folder.save("names.py", f"NAME = 'before {version}\n")
            text = page(server, f"NAME = 'before {version}")
            assert "SyntaxError" in text and "names.py" in text, text
            # Of two workers, one goes on until there is a page in its place.
            server.eventually("the page as a text", lambda: is_text(server.get()))
            folder.save("names.py", f"NAME = '{version}'\n")
            server.serves(version)


def is_text(answer):
    return answer.status == 503 and "text/plain" in answer.header("Content-Type")


#: A module that can't be imported, and the file that mends it.
MISSING = [
    ("import names", "names.py"),
    ("import names.inner as names", "names/__init__.py"),
    ("from parts import names", "parts/names.py"),
    ("from parts.names import NAME; import parts.names as names", "parts/names.py"),
    ("class names: NAME = open('names.txt').read().strip()", "names.txt"),
]


@pytest.mark.parametrize(("statement", "path"), MISSING)
@pytest.mark.parametrize("serving", [False, True])
def test_what_was_missing_is_mended_by_making_it(folder, statement, path, serving):
    folder.save("parts/__init__.py", "")
    text = statement + "\n" + app("?") + "VERSION = names.NAME\n"
    folder.save("shop.py", app("one") if serving else text)
    with reloading(folder) as server:
        if serving:
            server.serves("one")
            folder.save("shop.py", text)
            server.wait_for_log("the old code keeps serving")
        else:
            assert "Error" in page(server)
        if path == "names/__init__.py":
            folder.save("names/inner.py", "NAME = 'mended'\n")
        folder.save(path, "mended\n" if path.endswith(".txt") else "NAME = 'mended'\n")
        server.serves("mended")


def test_a_name_that_another_module_lacks_is_mended_there(folder):
    folder.save("names.py", "")
    folder.save("shop.py", "from names import NAME\n" + app("?") + "VERSION = NAME\n")
    with reloading(folder) as server:
        assert "cannot import name 'NAME' from 'names'" in page(server)
        folder.save("names.py", "NAME = 'mended'\n")
        server.serves("mended")


def test_a_module_that_goes_away_and_comes_back(folder):
    path = folder.save("names.py", "NAME = 'one'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, "--error-page") as server:
        server.serves("one")
        path.unlink()
        assert "No module named 'names'" in page(server)
        folder.save("names.py", "NAME = 'two'\n")
        server.serves("two")


def test_extra_files_are_watched_and_excluded_ones_are_not(folder):
    folder.save("shop.py", app("?") + "VERSION = open('config/version.txt').read()\n")
    for name in ["config/version.txt", "texts/de.txt", "texts/de.log", "data/a.csv"]:
        folder.save(name, "one")
    folder.save("names.py", "")
    folder.save("shop.py", "import names\n" + app("?") + "VERSION = open('config/version.txt').read()\n")
    extra = ["--extra-files", "config/version.txt", "--extra-files", "texts", "--extra-files", "data/*.csv"]
    with reloading(folder, *extra, "--exclude-patterns", "*.log", "--exclude-patterns", "*/names.py") as server:
        pid = server.serves("one")
        folder.save("config/version.txt", "two")
        pid = other(server, pid)
        server.serves("two")
        folder.save("texts/de.txt", "two")
        pid = other(server, pid)
        folder.save("data/b.csv", "new")
        pid = other(server, pid)
        # Nobody reacts to these; the next report would name them.
        folder.save("texts/de.log", "two")
        folder.save("names.py", "two = 2")
        folder.save("data/c.txt", "two")
        folder.save("texts/de.txt", "three")
        other(server, pid)
        changes = re.findall(r"Detected change in '.*/work/(.*), reloading", server.log())
        assert changes == ["config/version.txt'", "texts/de.txt'", "data/b.csv'", "texts/de.txt'"]


def other(server, pid):
    """Waits until another process serves, and the one before does not any more; which."""

    def ask():
        served = server.version()[1]
        return served if served not in (0, pid) else None

    new = server.eventually("another process", ask)
    server.eventually("the end of the other one", lambda: not is_alive(pid))
    return new


def test_only_workers_import_the_application_and_each_does_once(folder):
    note = "open('imports', 'a').write(f'{os.getpid()}\\n')\n"
    folder.save("shop.py", app("one") + note)

    def imports():
        return [int(line) for line in (folder.path / "imports").read_text().split()]

    with reloading(folder, "-w", "2") as server:
        server.serves("one")
        first = server.workers(2)
        wait_for("two imports", lambda: sorted(imports()) == first)
        folder.save("shop.py", app("two") + note)
        server.serves("two")
        wait_for("two more", lambda: len(imports()) == 4)
        server.eventually("the new ones alone", lambda: sorted(imports()[2:]) == server.workers(2))


def test_saves_of_one_second_are_told_apart(folder):
    """Python takes a file of the same size and second for the one that it has compiled."""
    folder.save("names.py", "NAME = 'version 0'\n")
    folder.save("shop.py", importing("names"))
    with reloading(folder, env={"PYTHONDONTWRITEBYTECODE": ""}) as server:
        server.serves("version 0")
        for number in range(1, 8):
            folder.save("names.py", f"NAME = 'version {number}'\n")
            server.serves(f"version {number}")
