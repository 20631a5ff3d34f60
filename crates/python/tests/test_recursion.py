"""Runaway recursion through C code ends with a RecursionError and a 500, as in a thread of Python, not with a crash."""

import resource
import sys
import textwrap

import pytest

from commands import Folder, serving_command

APP = """
    import sys, threading

    class Sorted:
        def __lt__(self, other):
            return sorted([Sorted(), Sorted()]) < 1

    class Attribute:
        def __getattr__(self, name):
            return getattr(self, name + "x")

    def mapped(value):
        return list(map(mapped, [value]))

    def key(value):
        return sorted([value], key=lambda value: key(value))

    CASES = {
        "/sorted": (1000, lambda: sorted([Sorted(), Sorted()])),
        "/attribute": (3000, lambda: Attribute().name),
        "/map": (5000, lambda: mapped(1)),
        "/key": (5000, lambda: key(1)),
    }

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/stack":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [stack_of_this_thread()]
        if environ["PATH_INFO"] in CASES:
            limit, run = CASES[environ["PATH_INFO"]]
            sys.setrecursionlimit(limit)
            try:
                run()
            except RecursionError:
                start_response("200 OK", [("Content-Type", "text/plain")])
                return [b"RecursionError"]
            finally:
                sys.setrecursionlimit(1000)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]

    def stack_of_this_thread():
        # The memory mapping that contains a local variable of a C function, which is this thread's stack.
        import ctypes
        pthread = ctypes.CDLL(None)
        attributes = ctypes.create_string_buffer(256)
        pthread.pthread_self.restype = ctypes.c_void_p
        assert pthread.pthread_getattr_np(ctypes.c_void_p(pthread.pthread_self()), attributes) == 0
        size = ctypes.c_size_t()
        assert pthread.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
        pthread.pthread_attr_destroy(attributes)
        return str(size.value).encode()
"""

SERVE = """
    import amboss, sys
    amboss.run_simple("127.0.0.1", 0, app, **eval(sys.argv[1]))
"""

MIB = 1 << 20

SERVERS = {
    "threads": "{}",
    "one thread": "{'threads': 1}",
    "not threaded": "{'threaded': False}",
    "processes": "{'processes': 2}",
}


#: The same recursion in a thread that Python has started.
THREAD = """
    thread = threading.Thread(target=lambda: print(*app({"PATH_INFO": sys.argv[1]}, lambda *_: None)))
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("path", ["/sorted", "/attribute", "/map", "/key"])
def test_recursion_through_c_code_is_a_recursion_error(script, server, path):
    alone = script(APP + THREAD, path)
    if alone.wait_for_exit() < 0:
        pytest.skip(f"threads of Python {sys.version.split()[0]} do not survive this, either")
    assert alone.out == "b'RecursionError'\n"
    served = script(APP + SERVE, SERVERS[server])
    with served.client() as client:
        for _ in range(2):
            assert client.get(path).body == b"RecursionError"
        assert client.get().body == b"served"
    assert served.is_running()


def stack(served):
    """Returns the stack size of the application's thread in bytes, without the guard page."""
    return int(served.get("/stack").body)


needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc for the size of a stack")


def limited(script, soft, before="", server="threads"):
    """Starts a server with this soft RLIMIT_STACK."""
    code = f"import resource as r; r.setrlimit(r.RLIMIT_STACK, ({soft}, r.getrlimit(r.RLIMIT_STACK)[1]))"
    return script("    " + code + "\n" + APP + "    " + before + "\n" + SERVE, SERVERS[server])


@needs_linux
@pytest.mark.parametrize("server", SERVERS)
def test_stacks_have_the_size_of_the_limit(script, server):
    assert stack(limited(script, 24 * MIB, server=server)) == 24 * MIB


@needs_linux
def test_stacks_have_8_to_64_mib(script):
    assert stack(limited(script, MIB)) == 8 * MIB
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard == resource.RLIM_INFINITY:
        assert stack(limited(script, resource.RLIM_INFINITY)) == 64 * MIB
        assert stack(limited(script, 512 * MIB)) == 64 * MIB


@needs_linux
def test_threading_stack_size_is_respected(script):
    assert stack(limited(script, 9 * MIB, before=f"threading.stack_size({20 * MIB})")) == 20 * MIB


@needs_linux
@pytest.mark.parametrize("options", [[], ["--workers=2"], ["--reload"]])
def test_an_application_may_set_the_stack_size_at_import(tmp_path, options):
    folder = Folder(tmp_path / "work")
    folder.save("deep.py", textwrap.dedent(APP) + f"threading.stack_size({20 * MIB})\n")
    with serving_command(folder.path, *options, "deep:app") as served:
        assert stack(served) == 20 * MIB


@needs_linux
def test_threading_stack_size_is_not_reset(script):
    script(
        f"""
        import amboss, threading
        threading.stack_size({20 * MIB})
        amboss.make_server("127.0.0.1", 0, lambda *_: [])
        print("it is", threading.stack_size())
        """
    ).wait_for(f"it is {20 * MIB}\n")
