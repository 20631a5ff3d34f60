"""The types of the package, checked by mypy."""

import subprocess
import sys
from pathlib import Path

import amboss
import pytest

# mypy is slow without its compiled modules.
pytestmark = pytest.mark.takes(900)

USE = """
from typing import Any, Callable, Dict, Iterable, List, Tuple

import amboss
from amboss import run_simple, make_server
from amboss.serving import WSGIRequestHandler


def app(environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"Hello"]


class Handler(WSGIRequestHandler):
    def make_environ(self) -> Dict[str, Any]:
        return {**super().make_environ(), "path": self.path}


server = make_server("localhost", 0, app, request_handler=Handler, ssl_context="adhoc")
port: int = server.port
done: bool = server.handle_request(timeout=1.5)
run_simple("localhost", 5000, app, ssl_context=("a.crt", "a.key"), threads=4)
wrapper = amboss.FileWrapper(open(__file__, "rb"), 100)
blocks: List[bytes] = list(wrapper)
version: str = amboss.__version__
pair: Tuple[str, str] = amboss.make_ssl_devcert("base", host="localhost")
pairs: List[Tuple[str, str]] = [pair]
make_server("localhost", 0, app, ssl_context=pairs)
try:
    pass
except (amboss.InputError, amboss.ClientDisconnected) as error:
    number: int = error.errno or 0
"""


def mypy(*arguments, cwd):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", str(cwd / "cache")]
    done = subprocess.run([*command, *arguments], cwd=str(cwd), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def test_the_package_is_typed_strictly(tmp_path):
    pytest.importorskip("mypy")
    code, output = mypy(str(Path(amboss.__file__).parent), cwd=tmp_path)
    assert code == 0, output


def test_programs_that_use_the_package_are_checked(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(USE)
    code, output = mypy("use.py", cwd=tmp_path)
    assert code == 0, output
    (tmp_path / "wrong.py").write_text("import amboss\namboss.make_server('localhost', '5000', None)\n")
    code, output = mypy("wrong.py", cwd=tmp_path)
    assert code == 1 and output.count("arg-type") == 2, output


def test_the_stub_matches_the_module():
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "amboss._amboss", "--ignore-missing-stub"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode()
