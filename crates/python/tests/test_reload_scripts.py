"""Scripts that call ``run_simple(use_reloader=True)``: they become what watches, and a second copy serves."""

import hashlib
import re
import ssl
import subprocess
import sys
import textwrap

import pytest
from commands import Folder, alive, app, is_alive, is_free, run, serving_command, serving_words
from programs import APPS, wait_for

RUN = """
from amboss import run_simple

if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, use_reloader=True{options})
"""


def script(version, options="", before=""):
    """The text of one whose application says its version."""
    return before + app(version) + RUN.format(options=options)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "work")


def serving(folder, *words, **more):
    """Starts a script; ``serve.py`` if no other words are given."""
    return serving_words(list(words or ["serve.py"]), folder.path, way=[sys.executable], **more)


def others(server, version, pid):
    served, other = server.version()
    return other if served == version and other != pid else None


def test_a_save_of_the_script_and_of_its_modules_is_served(folder):
    folder.save("names.py", "NAME = 'one'\n")
    folder.save("later.py", "")
    text = script("?", before="import names\n").replace("VERSION = '?'", "VERSION = names.NAME")
    folder.save("serve.py", text.replace("    start_response", "    import later\n    start_response", 1))
    with serving(folder) as server:
        port = server.port
        pid = server.serves("one")
        assert pid != server.pid
        folder.save("names.py", "NAME = 'two'\n")
        pid = server.serves("two")
        folder.save("later.py", "changed = True\n")
        pid = server.eventually("another process", lambda: others(server, "two", pid))
        folder.save("serve.py", script("three"))
        server.serves("three")
        assert server.port == port
        assert " * Restarting with " in server.log() and server.log().count("Running on") == 1
        server.interrupt()
        assert server.ended() == 0
        assert "Traceback" not in server.log()


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
def test_a_broken_save_is_waited_out_or_shown(folder, broken, has_page):
    options = ", error_page=True" if has_page else ""
    folder.save("serve.py", script("one", options))
    with serving(folder) as server:
        pid = server.serves("one")
        folder.save("serve.py", broken)
        if has_page:

            def page():
                answer = server.get(headers="Accept: text/html\r\n")
                return answer if answer.status == 503 else None

            body = server.eventually("the page", page).body
            assert b"Error" in body and b"serve.py" in body, body
        else:
            server.wait_for_log("the old code keeps serving")
            assert server.version() == ("one", pid)
        folder.save("serve.py", script("two", options))
        server.serves("two")


def test_a_broken_save_that_takes_its_time_to_break_is_waited_out_as_well(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        pid = server.serves("one")
        folder.save("serve.py", "import time\ntime.sleep(1.5)\n1 / 0\n")
        server.wait_for_log("the old code keeps serving")
        assert server.version() == ("one", pid)
        folder.save("serve.py", script("two", before="import time\ntime.sleep(1.5)\n"))
        server.serves("two")


def test_a_module_that_was_missing_is_mended_by_making_it(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        server.serves("one")
        folder.save("serve.py", script("two", before="import names\n"))
        server.wait_for_log("the old code keeps serving")
        folder.save("names.py", "")
        server.serves("two")


def test_extra_files_and_exclude_patterns(folder, tmp_path):
    beside = Folder(tmp_path / "beside")
    for name in ["-odd name.txt", "texts/a.txt"]:
        folder.save(name, "one")
    beside.save("c.txt", "one")
    extra = ["-odd name.txt", "texts", f"{beside.path}/*.txt"]
    options = f", extra_files={extra}, exclude_patterns=['-*', '*.log']"
    folder.save("serve.py", script("one", options))
    with serving(folder) as server:
        pid = server.serves("one")
        for where, name in [(folder, "-odd name.txt"), (folder, "texts/a.txt"), (beside, "c.txt")]:
            where.save("texts/b.log", "nobody reacts")
            where.save(name, "two")
            before, pid = pid, server.eventually("another process", lambda: others(server, "one", pid))
            server.eventually("the end of the other one", lambda: not is_alive(before))
        changes = re.findall(r"Detected change in '.*/(.*)'", server.log())
        assert changes == ["-odd name.txt", "a.txt", "c.txt"]


#: What the script has begun before it serves.
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
        # One that its end would wait for.
        multiprocessing.get_context(METHOD).Process(target=tick, args=("other",)).start()
    while not {"thread", "child", "other"} <= {line.split()[0] for line in open("beside")}:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_nothing_that_the_script_has_begun_stays_beside_its_second_copy(folder, method):
    folder.save("beside", "")
    folder.save("serve.py", script("one", before=BESIDE.replace("METHOD", repr(method))))

    def noted():
        return [tuple(line.split()) for line in (folder.path / "beside").read_text().splitlines()]

    def ticking():
        """Who writes now."""
        (folder.path / "beside").write_text("")
        wait_for("the thread, three times", lambda: [kind for kind, _ in noted()].count("thread") > 2)
        return noted()

    with serving(folder) as server:
        worker = server.serves("one")
        # The end came as at the end of a program.
        wait_for("what is to be done at the end", lambda: ("end", str(server.pid)) in noted())
        now = ticking()
        assert {pid for kind, pid in now if kind == "thread"} == {str(worker)}
        assert {kind for kind, _ in now} <= {"thread", "child"}, now
        beside = {int(pid) for kind, pid in now if kind == "child"}
        assert [alive()[pid][0] for pid in beside] in ([], [worker])
        server.signal("SIGTERM")
        assert server.ended() == 0
        wait_for("the port", lambda: is_free(server.port))


@pytest.mark.parametrize("words", [["-m", "shop"], ["-m", "shop.serve", "--flag"], ["shop/serve.py", "a b"]])
def test_it_is_started_again_as_it_was_started(folder, words):
    if words[:2] == ["-m", "shop"]:
        folder.save("shop/__init__.py", "")
    note = "import sys\nopen('words', 'a').write(repr([sys.argv[1:], __package__, sys.flags.optimize]) + '\\n')\n"
    name = "shop/__main__.py" if words == ["-m", "shop"] else "shop/serve.py"
    folder.save(name, script("one", before=note))
    with serving(folder, "-O", *words) as server:
        server.serves("one")
        folder.save(name, script("two", before=note))
        server.serves("two")
    said = (folder.path / "words").read_text().splitlines()
    assert len(said) == 3 and len(set(said)) == 1 and said[0].endswith("1]"), said


@pytest.mark.parametrize(
    ("words", "imports"),
    # How the last one is named tells nothing of where that was, once the script has gone before it knows of amboss.
    [(["serve.py"], "os"), (["./serve.py"], "os"), (["../work/serve.py"], "amboss, os")],
)
def test_a_script_that_goes_to_another_folder_is_found_again(folder, words, imports):
    before = f"import {imports}\nos.chdir('elsewhere')\n"
    folder.save("elsewhere/extra.txt", "one")
    options = ", extra_files=['extra.txt']"
    folder.save("serve.py", script("one", options, before))
    with serving(folder, *words) as server:
        pid = server.serves("one")
        folder.save("elsewhere/extra.txt", "two")
        server.eventually("another process", lambda: others(server, "one", pid))
        folder.save("serve.py", script("two", options, before))
        server.serves("two")


@pytest.mark.parametrize("reloader", [True, False])
def test_children_of_the_application_are_its_own_affair(folder, reloader):
    text = f"from amboss import run_simple\nfrom processes import application as app\n{RUN.format(options='')}"
    folder.save("serve.py", text.replace("use_reloader=True", f"use_reloader={reloader}"))
    with serving(folder, env={"PYTHONPATH": str(APPS)}) as server:
        for how in ["fork", "os.fork", "subprocess"]:
            assert server.json(f"/child?{how}")["ended by"] == -15
        assert server.json(f"/server?{folder.path}/socket")["said"] == "answered\n"
        server.interrupt()
        assert server.ended() == 0
        assert "died" not in server.log() and "Traceback" not in server.log()


def test_nothing_is_left_of_it_when_it_is_killed(folder):
    folder.save("serve.py", script("one"))
    with serving(folder) as server:
        server.serves("one")
        server.signal("SIGKILL")
        assert server.ended() == -9
        wait_for("the port", lambda: is_free(server.port))


def test_the_adhoc_certificate_stays_over_a_reload(folder, tmp_path):
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


def served_by_tls(server, version):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ask():
        with server.client(tls=context) as client:
            served, pid = client.get().body.decode().rsplit(" ", 1)
            return int(pid) if served == version else None

    return server.eventually(f"{version!r} to be served", ask)


def test_what_contradicts_itself_is_said_before_anything_is_watched(folder):
    for options, sentence in [
        (", threaded=True, processes=2", "Cannot have a multi-thread and multi-process server."),
        (", reloader_type='magic'", "reloader_type must be 'auto', 'stat' or 'notify', not 'magic'"),
        (", ssl_context=('no.crt', 'no.key')", "no.crt"),
    ]:
        folder.save("serve.py", script("one", options))
        code, said = run(["serve.py"], folder.path, [sys.executable])
        assert code == 1 and sentence in said.splitlines()[-1], said


#: What Werkzeug says in a process, and what its own children see; ``/flask`` starts Flask's own server there.
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
        said = ""
        for line in child.stderr:
            said += line
            if "Running on" in line:
                with urllib.request.urlopen(line.split()[-1]) as answer:
                    said = answer.read().decode()
                break
        child.terminate()
    return said

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

#: In a reloader's child, and elsewhere.
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
def test_werkzeug_takes_it_for_its_own_reloader_and_its_children_do_not(folder, way):
    pytest.importorskip("flask")
    folder.save("served_by_flask.py", FLASK)
    folder.save("serve.py", WERKZEUG + RUN.format(options=""))
    serve = serving(folder) if way == "script" else serving_command(folder.path, "--reload", "serve:app")
    with serve as server:
        assert server.json() == {**RELOADED, "port": server.port}
        assert server.json("/flask") == ["flask's own server"] * 2


def test_werkzeug_knows_that_nothing_is_reloaded(folder):
    folder.save("serve.py", WERKZEUG + RUN.format(options="").replace("use_reloader=True", "use_reloader=False"))
    with serving(folder) as server:
        assert server.json() == {**ELSEWHERE, "port": None}
    # What surrounds the supervisor is not its children's.
    around = {"WERKZEUG_RUN_MAIN": "true", "WERKZEUG_SERVER_FD": "3"}
    with serving_command(folder.path, "--workers=2", "serve:app", env=around) as server:
        assert server.json() == {**ELSEWHERE, "port": None}


def test_variables_that_are_only_here_can_be_changed():
    code = """
        import os
        os.environ.update(AMBOSS_RELOADING="true", AMBOSS_SERVER_FD="3", WERKZEUG_RUN_MAIN="true", OTHER="other")
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
        server.serves("one")
        assert server.log().count("Debugger PIN") == 1
