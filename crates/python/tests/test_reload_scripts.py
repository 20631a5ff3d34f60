"""Scripts that call ``run_simple(use_reloader=True)``: the process becomes the supervisor, and a child serves."""

import hashlib
import re
import ssl
import subprocess
import sys
import textwrap

import pytest

from commands import Folder, alive, app, is_alive, is_free, run, serving_command, serving_words
from programs import APPS
from waiting import wait_until

RUN = """
from amboss import run_simple

if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, use_reloader=True{options})
"""


def script(version, options="", before=""):
    """Returns the source of a script whose application responds with its version."""
    return before + app(version) + RUN.format(options=options)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "work")


def serving(folder, *words, **more):
    """Starts a script, by default ``serve.py``."""
    return serving_words(list(words or ["serve.py"]), folder.path, way=[sys.executable], **more)


def others(server, version, pid):
    served, other = server.version()
    return other if served == version and other != pid else None


def test_a_saved_script_and_its_saved_modules_are_served(folder):
    folder.save("names.py", "NAME = 'one'\n")
    folder.save("later.py", "")
    text = script("?", before="import names\n").replace("VERSION = '?'", "VERSION = names.NAME")
    folder.save("serve.py", text.replace("    start_response", "    import later\n    start_response", 1))
    with serving(folder) as server:
        port = server.port
        pid = server.wait_for_version("one")
        assert pid != server.pid
        folder.save("names.py", "NAME = 'two'\n")
        pid = server.wait_for_version("two")
        folder.save("later.py", "changed = True\n")
        pid = server.wait_until(lambda: others(server, "two", pid), "another process")
        folder.save("serve.py", script("three"))
        server.wait_for_version("three")
        assert server.port == port
        assert " * Restarting with " in server.log() and server.log().count("Running on") == 1
        server.interrupt()
        assert server.wait_for_exit() == 0
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("patch", ["import gevent.monkey as by; by.patch_all()", "import eventlet as by; by.monkey_patch()"])
def test_a_saved_script_that_patches_itself_is_served(folder, patch):
    pytest.importorskip(patch.split()[1].split(".")[0])
    folder.save("serve.py", script("one", before=f"{patch}\n"))
    with serving(folder) as server:
        server.wait_for_version("one")
        folder.save("serve.py", script("two", before=f"{patch}\n"))
        server.wait_for_version("two")
        assert server.log().count("Requests run in greenlets of") == 2
        server.interrupt()
        assert server.wait_for_exit() == 0


@pytest.mark.parametrize(
    "broken",
    [
        "import not_there\n" + script("?"),
        "def app(:\n",
        script("?").replace("run_simple", "nothing_simple", 1),
        "1 / 0",
    ],
    ids=["import", "syntax", "name", "run"],
)
@pytest.mark.parametrize("has_page", [False, True])
def test_after_a_broken_save_the_old_code_or_a_page_is_served(folder, broken, has_page):
    options = ", error_page=True" if has_page else ""
    folder.save("serve.py", script("one", options))
    with serving(folder) as server:
        pid = server.wait_for_version("one")
        folder.save("serve.py", broken)
        if has_page:
            body = server.wait_until(lambda: failing(server, "Accept: text/html\r\n"), "the page").body
            assert b"Error" in body and b"serve.py" in body, body
        else:
            server.wait_for_log("the old code keeps serving")
            assert server.version() == ("one", pid)
        folder.save("serve.py", script("two", options))
        server.wait_for_version("two")


def test_code_that_fails_slowly_does_not_replace_the_old_code(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        pid = server.wait_for_version("one")
        folder.save("serve.py", "import time\ntime.sleep(1.5)\n1 / 0\n")
        server.wait_for_log("the old code keeps serving")
        assert server.version() == ("one", pid)
        folder.save("serve.py", script("two", before="import time\ntime.sleep(1.5)\n"))
        server.wait_for_version("two")


def test_creating_a_missing_module_reloads(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        server.wait_for_version("one")
        folder.save("serve.py", script("two", before="import names\n"))
        server.wait_for_log("the old code keeps serving")
        folder.save("names.py", "")
        server.wait_for_version("two")


def test_extra_files_are_watched_and_excluded_ones_are_not(folder, tmp_path):
    beside = Folder(tmp_path / "beside")
    for name in ["-odd name.txt", "texts/a.txt"]:
        folder.save(name, "one")
    beside.save("c.txt", "one")
    extra = ["-odd name.txt", "texts", f"{beside.path}/*.txt"]
    options = f", extra_files={extra}, exclude_patterns=['-*', '*.log']"
    folder.save("serve.py", script("one", options))
    with serving(folder) as server:
        pid = server.wait_for_version("one")
        for where, name in [(folder, "-odd name.txt"), (folder, "texts/a.txt"), (beside, "c.txt")]:
            where.save("texts/b.log", "ignored")
            where.save(name, "two")
            before, pid = pid, server.wait_until(lambda: others(server, "one", pid), "another process")
            server.wait_until(lambda: not is_alive(before), "the end of the other process")
        changes = re.findall(r"Detected change in '.*/(.*)'", server.log())
        assert changes == ["-odd name.txt", "a.txt", "c.txt"]


#: What the script starts before it serves.
BESIDE = """
import multiprocessing, os, threading, time

def note(kind):
    with open("beside", "a") as file:
        file.write(f"{kind} {os.getpid()}\\n")

def tick(kind):
    while True:
        note(kind)
        time.sleep(0.02)

if __name__ == "__main__":
    import atexit
    atexit.register(note, "end")
    threading.Thread(target=tick, args=("thread",), daemon=True).start()
    multiprocessing.get_context(METHOD).Process(target=tick, args=("child",), daemon=True).start()
    if "AMBOSS_RUN_MAIN" not in os.environ:
        # The end of the program would wait for this process.
        multiprocessing.get_context(METHOD).Process(target=tick, args=("other",)).start()
    while not {"thread", "child", "other"} <= {line.split()[0] for line in open("beside")}:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_threads_and_children_of_the_supervisor_are_stopped(folder, method):
    folder.save("beside", "")
    folder.save("serve.py", script("one", before=BESIDE.replace("METHOD", repr(method))))

    def noted():
        return [tuple(line.split()) for line in (folder.path / "beside").read_text().splitlines()]

    def ticking():
        """Returns which threads and processes are writing now."""
        (folder.path / "beside").write_text("")
        wait_until(lambda: [kind for kind, _ in noted()].count("thread") > 2, "three lines of the thread")
        return noted()

    with serving(folder) as server:
        worker = server.wait_for_version("one")
        # The exit handlers ran as at the end of a program.
        wait_until(lambda: ("end", str(server.pid)) in noted(), "the exit handlers to run")
        now = ticking()
        assert {pid for kind, pid in now if kind == "thread"} == {str(worker)}
        assert {kind for kind, _ in now} <= {"thread", "child"}, now
        beside = {int(pid) for kind, pid in now if kind == "child"}
        assert [alive()[pid][0] for pid in beside] in ([], [worker])
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0
        wait_until(lambda: is_free(server.port), "the port")


@pytest.mark.parametrize("words", [["-m", "shop"], ["-m", "shop.serve", "--flag"], ["shop/serve.py", "a b"]])
def test_a_script_is_restarted_with_the_same_command_line(folder, words):
    if words[:2] == ["-m", "shop"]:
        folder.save("shop/__init__.py", "")
    note = "import sys\nopen('words', 'a').write(repr([sys.argv[1:], __package__, sys.flags.optimize]) + '\\n')\n"
    name = "shop/__main__.py" if words == ["-m", "shop"] else "shop/serve.py"
    folder.save(name, script("one", before=note))
    with serving(folder, "-O", *words) as server:
        server.wait_for_version("one")
        folder.save(name, script("two", before=note))
        server.wait_for_version("two")
    output = (folder.path / "words").read_text().splitlines()
    assert len(output) == 3 and len(set(output)) == 1 and output[0].endswith("1]"), output


@pytest.mark.parametrize(
    ("words", "imports"),
    # In the last case, the script changes its directory before it imports amboss, so its relative path is useless.
    [(["serve.py"], "os"), (["./serve.py"], "os"), (["../work/serve.py"], "amboss, os")],
)
def test_a_script_that_changes_its_directory_is_restarted(folder, words, imports):
    before = f"import {imports}\nos.chdir('elsewhere')\n"
    folder.save("elsewhere/extra.txt", "one")
    options = ", extra_files=['extra.txt']"
    folder.save("serve.py", script("one", options, before))
    with serving(folder, *words) as server:
        pid = server.wait_for_version("one")
        folder.save("elsewhere/extra.txt", "two")
        server.wait_until(lambda: others(server, "one", pid), "another process")
        folder.save("serve.py", script("two", options, before))
        server.wait_for_version("two")


@pytest.mark.parametrize("reloader", [True, False])
def test_children_of_the_application_are_not_touched(folder, reloader):
    text = f"from amboss import run_simple\nfrom processes import application as app\n{RUN.format(options='')}"
    folder.save("serve.py", text.replace("use_reloader=True", f"use_reloader={reloader}"))
    with serving(folder, env={"PYTHONPATH": str(APPS)}) as server:
        for how in ["fork", "os.fork", "subprocess"]:
            assert server.json(f"/child?{how}")["ended by"] == -15
        assert server.json(f"/server?{folder.path}/socket")["output"] == "answered\n"
        server.interrupt()
        assert server.wait_for_exit() == 0
        assert "died" not in server.log() and "Traceback" not in server.log()


def test_all_processes_end_if_the_supervisor_is_killed(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        server.wait_for_version("one")
        server.signal("SIGKILL")
        assert server.wait_for_exit() == -9
        wait_until(lambda: is_free(server.port), "the port")


def test_a_reload_keeps_the_adhoc_certificate(folder, tmp_path):
    options = ", ssl_context='adhoc'"
    folder.save("serve.py", script("one", options))
    with serving(folder, env={"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}) as server:

        def certificate():
            return ssl.get_server_certificate((server.host, server.port))

        first = certificate()
        pid = served_by_tls(server, "one")
        folder.save("serve.py", script("two", options))
        assert served_by_tls(server, "two") != pid
        assert certificate() == first
        fingerprint = re.search(r"SHA-256\): ([0-9A-F:]+)", server.log()).group(1)
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()
        assert fingerprint.replace(":", "").lower() == digest


def any_certificate():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def served_by_tls(server, version):
    def ask():
        with server.client(tls=any_certificate()) as client:
            served, pid = client.get().body.decode().rsplit(" ", 1)
            return int(pid) if served == version else None

    return server.wait_until(ask, f"{version!r} to be served")


def test_the_error_page_is_served_as_the_program_is(folder, tmp_path):
    """By the same scheme, for the same hosts, behind the same proxies."""
    options = (
        ", ssl_context='adhoc', error_page=True, allowed_hosts=['a.test'], hosts={'b.test': app},"
        " forwarded_hops={'host': 1}, trusted_proxies='127.0.0.1'"
    )
    folder.save("serve.py", script("one", options))
    with serving(folder, env={"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}) as server:
        served_by_tls(server, "one")
        folder.save("serve.py", "def app(:\n")

        def status(fields):
            with server.client(tls=any_certificate()) as client:
                return client.send(f"GET / HTTP/1.1\r\n{fields}\r\n\r\n".encode()).read_response().status

        server.wait_until(lambda: status("Host: localhost") == 503 or None, "the page")
        for fields, expected in [
            ("Host: a.test", 503),
            ("Host: b.test", 503),
            ("Host: c.test", 421),
            ("Host: localhost\r\nX-Forwarded-Host: c.test", 421),
        ]:
            assert status(fields) == expected, fields


def test_the_reason_is_for_this_machine_alone(folder):
    folder.save("serve.py", script("one", ", error_page=True"))
    with serving(folder) as server:
        server.wait_for_version("one")
        folder.save("serve.py", "def app(:\n")
        page = server.wait_until(lambda: failing(server, ""), "the page")
        assert b"serve.py" in page.body
        forwarded = failing(server, "X-Forwarded-For: 203.0.113.9\r\n")
        assert b"serve.py" not in forwarded.body and b"log of the server" in forwarded.body


def failing(server, fields):
    response = server.get(headers=fields)
    return response if response.status == 503 else None


def test_code_that_exits_with_3_while_it_is_imported_is_not_started_again_and_again(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        pid = server.wait_for_version("one")
        folder.save("serve.py", "import sys\nsys.exit(3)\n")
        server.wait_for_log("the old code keeps serving")
        assert server.version() == ("one", pid)


def test_invalid_arguments_are_reported_before_the_supervisor_starts(folder):
    for options, sentence in [
        (", threaded=True, processes=2", "Cannot have a multi-thread and multi-process server."),
        (", reloader_type='magic'", "reloader_type must be 'auto', 'stat' or 'notify', not 'magic'"),
        (", ssl_context=('no.crt', 'no.key')", "no.crt"),
    ]:
        folder.save("serve.py", script("one", options))
        code, output = run(["serve.py"], folder.path, [sys.executable])
        assert code == 1 and sentence in output.splitlines()[-1], output


#: Werkzeug's state in a process and in its children. ``/flask`` starts Flask's own server there.
WERKZEUG = """
import json, os, socket, subprocess, sys, urllib.request
from amboss import run_simple
from werkzeug.serving import is_running_from_reloader

AT_IMPORT = is_running_from_reloader()
NAMES = ("WERKZEUG_RUN_MAIN", "WERKZEUG_SERVER_FD")
CHILD = "import json, os; print(json.dumps([name for name in os.environ if name.startswith('WERKZEUG_')]))"

def flask(environment):
    words = [sys.executable, "-m", "flask", "--app", "served_by_flask", "run", "--port", "0"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as child:
        output = ""
        for line in child.stderr:
            output += line
            if "Running on" in line:
                with urllib.request.urlopen(line.split()[-1]) as response:
                    output = response.read().decode()
                break
        child.terminate()
    return output

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/flask":
        return [json.dumps([flask(None), flask({**os.environ})]).encode()]
    fd = os.environ.get("WERKZEUG_SERVER_FD")
    listening = socket.fromfd(int(fd), socket.AF_INET, socket.SOCK_STREAM) if fd else None
    children = [
        json.loads(subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True).stdout)
        for environment in (None, {**os.environ}, os.environ.copy(), os.environ)
    ]
    return [
        json.dumps(
            {
                "at import": AT_IMPORT,
                "now": is_running_from_reloader(),
                "getenv": os.getenv("WERKZEUG_RUN_MAIN"),
                "bytes": (os.environb.get(b"WERKZEUG_RUN_MAIN") or b"").decode(),
                "in": [name in os.environ for name in NAMES],
                "listed": [name for name in os.environ if name in NAMES],
                "port": listening and listening.getsockname()[1],
                "children": children,
            }
        ).encode()
    ]
"""

FLASK = """
import flask
app = flask.Flask("served by flask")

@app.route("/")
def hello():
    return "flask's own server"
"""

#: The state in a reloader's child, and in another process.
RELOADED = {
    "at import": True,
    "now": True,
    "getenv": "true",
    "bytes": "true",
    "in": [True, True],
    "listed": [],
    "children": [[]] * 4,
}
ELSEWHERE = {**RELOADED, "at import": False, "now": False, "getenv": None, "bytes": "", "in": [False, False]}


@pytest.mark.parametrize("way", ["script", "command"])
def test_werkzeug_detects_a_reloader_in_the_process_but_not_in_its_children(folder, way):
    pytest.importorskip("flask")
    folder.save("served_by_flask.py", FLASK)
    folder.save("serve.py", WERKZEUG + RUN.format(options=""))
    serve = serving(folder) if way == "script" else serving_command(folder.path, "--reload", "serve:app")
    with serve as server:
        assert server.json() == {**RELOADED, "port": server.port}
        assert server.json("/flask") == ["flask's own server"] * 2


def test_werkzeug_detects_no_reloader_without_reloading(folder):
    folder.save("serve.py", WERKZEUG + RUN.format(options="").replace("use_reloader=True", "use_reloader=False"))
    with serving(folder) as server:
        assert server.json() == {**ELSEWHERE, "port": None}
    # The supervisor's own variables are not inherited by its children.
    around = {"WERKZEUG_RUN_MAIN": "true", "WERKZEUG_SERVER_FD": "3"}
    with serving_command(folder.path, "--workers=2", "serve:app", env=around) as server:
        assert server.json() == {**ELSEWHERE, "port": None}


def test_hidden_variables_can_be_changed():
    code = """
        import os
        os.environ.update(AMBOSS_CHILD_RELOADING="true", AMBOSS_SERVER_FD="3", WERKZEUG_RUN_MAIN="true", OTHER="other")
        import amboss
        assert os.environ["WERKZEUG_RUN_MAIN"] == "true" and "WERKZEUG_RUN_MAIN" not in list(os.environ)
        assert "WERKZEUG_SERVER_FD" not in os.environ and os.environ["OTHER"] == "other"
        assert os.environ.pop("WERKZEUG_RUN_MAIN", None) == "true"
        assert os.environ.pop("WERKZEUG_RUN_MAIN", None) is None
        os.environ["WERKZEUG_RUN_MAIN"] = "again"
        assert os.environb[b"WERKZEUG_RUN_MAIN"] == b"again" and "WERKZEUG_RUN_MAIN" in list(os.environ)
        del os.environ["WERKZEUG_RUN_MAIN"], os.environ["OTHER"]
        for name in ("WERKZEUG_RUN_MAIN", "OTHER"):
            try:
                del os.environ[name]
            except KeyError:
                continue
            raise AssertionError(name)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()


def test_the_debuggers_pin_is_printed_once(folder):
    folder.save("serve.py", script("one", ", use_debugger=True"))
    with serving(folder) as server:
        server.wait_for_version("one")
        assert server.log().count("Debugger PIN") == 1
