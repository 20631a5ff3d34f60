"""``amboss.toml``, the environment, and settings that concern a Python application."""

import os
import pwd
import subprocess
import sys
import textwrap

import pytest

from commands import BINARY, INSTALLED, MODULE, Folder, app, run, serving_command, serving_words

WAYS = {"module": MODULE, "installed": INSTALLED}
if BINARY:
    WAYS["binary"] = [BINARY]

SHOP = (
    app("plain")
    + """
def create_app():
    def made(environ, start_response):
        start_response("200 OK", [])
        return [f"made {os.getpid()}".encode()]
    return made

SECRET = os.environ.get("SECRET")

def shows(environ, start_response):
    start_response("200 OK", [])
    return [repr((SECRET, os.environ.get("SECRET"), os.getcwd(), environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]
"""
)


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", SHOP)
    folder.save("inner/deep.py", SHOP)
    folder.save(".env", "SECRET='from a file'\n")
    return folder


def configure(folder, text):
    return folder.save("amboss.toml", textwrap.dedent(text))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_names_the_application_and_its_workers(folder, way):
    configure(
        folder,
        f"""
        app = "shop:create_app"
        factory = true
        workers = 2
        python = {sys.executable!r}
        """,
    )
    with serving_command(folder.path, way=WAYS[way]) as server:
        server.wait_for_workers(2)
        assert server.version()[0] == "made"
        assert len(server.wait_for_workers(2)) == 2


@pytest.mark.parametrize(
    "target", ["shop:create_app", "shop", "shop:create_app()"], ids=["name", "module", "call"]
)
def test_a_factory_is_called(folder, target):
    with serving_command(folder.path, "--factory", target) as server:
        assert server.version()[0] == "made"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", [[], ["-w", "2"], ["-w", "2", "--preload"]], ids=["one", "two", "preloaded"])
def test_directory_and_variables_are_those_of_the_application(folder, way, workers):
    options = ["--chdir", "inner", "--env-file", os.path.join("..", ".env"), "--root-path", "/shop", *workers]
    if way == "binary":
        options += ["--python", sys.executable]
    with serving_command(folder.path, *options, "deep:shows", way=WAYS[way]) as server:
        for path in ("/cart", "/shop/cart"):
            expected = ("from a file", "from a file", str(folder.path / "inner"), "/shop", "/cart")
            assert server.get(path).body.decode() == repr(expected)


def test_a_variable_of_a_flag_counts_more_than_that_of_a_file_and_the_environment(folder):
    options = ["--env-file", ".env", "-e", "SECRET=from a flag", "shop:shows"]
    with serving_command(folder.path, *options, env={"SECRET": "from the shell"}) as server:
        assert server.get().body.decode().startswith("('from a flag', 'from a flag', ")
    with serving_command(folder.path, "--env-file", ".env", "shop:shows", env={"SECRET": "from the shell"}) as server:
        assert server.get().body.decode().startswith("('from the shell', 'from the shell', ")


@pytest.mark.parametrize("options", [[], ["-w", "2"], ["-k", "gevent"]], ids=["one", "two", "greenlets"])
def test_the_pid_file_is_there_while_the_server_runs(folder, options):
    if "gevent" in options:
        pytest.importorskip("gevent")
    path = folder.path / "amboss.pid"
    with serving_command(folder.path, "--pid", "amboss.pid", *options, "shop:app") as server:
        assert server.get().status == 200
        assert path.read_text(encoding="ascii") == f"{server.pid}\n"
        server.signal("SIGTERM")
        assert server.wait_for_exit() == 0, server.log()
    assert not path.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_check_imports_the_application(folder, way):
    folder.save("bad.py", "import not_there\n")
    configure(folder, f"python = {sys.executable!r}\nbind = 'localhost:0'\nworkers = 2\n")
    code, output = run(["--check-config", "shop:app"], folder.path, WAYS[way])
    assert (code, output) == (0, "amboss: the configuration is valid, and the application can be imported\n")
    code, output = run(["--check-config", "bad:app"], folder.path, WAYS[way])
    assert code == 2 and "No module named 'not_there'" in output, output
    configure(folder, "python = 'python3'\nworker = 2\n")
    code, output = run(["--check-config", "shop:app"], folder.path, WAYS[way])
    assert code == 2 and "amboss.toml, line 2: there is no setting worker; did you mean workers?" in output, output


def test_the_number_of_workers_comes_from_the_platform(folder):
    env = {"WEB_CONCURRENCY": "3", "PORT": "0"}
    with serving_words(["shop:app"], folder.path, env=env) as server:
        server.wait_for_workers(3)
        assert "Running on all addresses (0.0.0.0)" in server.log()


#: Takes the place of a module of the standard library, and makes a file if root imports it.
SPY = """
import os, sysconfig
if os.geteuid() == 0:
    open({path!r}, "w").close()
with open(os.path.join(sysconfig.get_path("stdlib"), __name__ + ".py")) as file:
    exec(file.read(), globals())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("options", [[], ["-w", "2"], ["-w", "2", "--reload"]], ids=["one", "two", "reloading"])
def test_no_code_of_the_directory_runs_as_root(folder, options):
    user = pwd.getpwnam("nobody")
    try:
        subprocess.run([sys.executable, "-c", "import amboss"], user="nobody", cwd="/", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("another user can't run this interpreter")
    folder.save("user.py", "import os\n" + SHOP.replace("os.getcwd()", "os.geteuid()"))
    for directory in (folder.path, *folder.path.parents[:3]):
        directory.chmod(0o755)
    os.chown(folder.path, user.pw_uid, user.pw_gid)
    path = folder.path / "as-root"
    for module in ("ipaddress", "threading", "signal", "importlib", "socket"):
        folder.save(f"{module}.py", SPY.format(path=str(path)))
    subprocess.run([sys.executable, "-c", "import ipaddress"], cwd=folder.path, check=True)
    path.unlink()  # The spy works.
    with serving_command(folder.path, "--user", "nobody", *options, "user:shows", way=INSTALLED) as server:
        assert f", {user.pw_uid}, " in server.get().body.decode()
        if options:
            first = set(server.wait_for_workers(2 if "-w" in options else 1))
            server.signal("SIGHUP")
            server.wait_until(lambda: not first & set(server.processes()), "new workers")
    assert not path.exists()


@pytest.mark.parametrize("library", ["gevent", "threads"])
def test_processes_have_the_name(folder, library):
    if library == "gevent":
        pytest.importorskip("gevent")
    with serving_command(folder.path, "--name", "shop", "-w", "2", "-k", library, "shop:app") as server:
        workers = server.wait_for_workers(2)

        def named():
            names = {open(f"/proc/{pid}/comm", encoding="ascii").read() for pid in (server.pid, *workers)}
            return names == {"shop\n"}

        server.wait_until(named, "all processes to have the name")
