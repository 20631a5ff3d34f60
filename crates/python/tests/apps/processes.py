"""Shows which process responds: it waits, computes, starts children, or counts concurrent requests."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

SECONDS = 60

#: A server for one request, which the program sends itself.
SERVER = """
import amboss, socket, sys, threading, time

def app(environ, start_response):
    start_response("200 OK", [])
    environ["werkzeug.server.shutdown"]()
    return [b"answered"]

def ask():
    with socket.socket(socket.AF_UNIX) as connection:
        while connection.connect_ex(sys.argv[1]) != 0:
            time.sleep(0.01)
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(connection.makefile("rb").read().splitlines()[-1].decode())

asking = threading.Thread(target=ask, daemon=True)
asking.start()
amboss.run_simple("unix://" + sys.argv[1], 0, app, use_reloader=amboss.is_running_from_reloader())
asking.join()
"""

counting = threading.Lock()
running = 0


def application(environ, start_response):
    global running
    path = environ["PATH_INFO"]
    query = environ["QUERY_STRING"]
    info = {
        "pid": os.getpid(),
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
        "main": os.environ.get("AMBOSS_RUN_MAIN"),
    }
    if path == "/beside":
        # The maximum number of requests that run in this process while this request runs.
        most = 0
        with counting:
            running += 1
        until = time.monotonic() + float(query)
        while time.monotonic() < until:
            most = max(most, running)
            time.sleep(0.001)
        with counting:
            running -= 1
        info["running"] = most
    elif path == "/sleep":
        time.sleep(float(query))
    elif path == "/read":
        info["read"] = len(environ["wsgi.input"].read())
    elif path == "/wait":
        wait_in(query)
    elif path == "/hang":
        announce(query)
        hang_here()
    elif path == "/spin":
        announce(query)
        spin_here()
    elif path == "/hold":
        # A regular expression that takes forever and never releases the GIL.
        announce(query)
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif path == "/block":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return blocks(query)
    elif path == "/socket":
        peer = environ["werkzeug.socket"]
        peer.sendall(peer.recv(1) + peer.recv(1))
    elif path == "/server":
        info["output"] = subprocess.run(
            [sys.executable, "-c", SERVER, query], capture_output=True, text=True, timeout=SECONDS
        ).stdout
    elif path == "/child":
        info["ended by"] = terminated(query)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(info).encode()]


def announce(folder, what="waiting"):
    with open(os.path.join(folder, f"{what}-{os.getpid()}"), "w"):
        pass


announce(".", "imported")


def wait_in(folder):
    """Waits until the test creates a file in the directory."""
    announce(folder)
    until = time.monotonic() + SECONDS
    while not os.path.exists(os.path.join(folder, "go-on")) and time.monotonic() < until:
        time.sleep(0.01)


def hang_here():
    time.sleep(SECONDS)


def spin_here():
    while True:
        pass


def blocks(folder):
    yield b"begun"
    announce(folder)
    hang_here()
    yield b"never"


def terminated(how):
    """Starts a child process, terminates it, and returns its exit status."""
    if how == "fork":
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(SECONDS,))
        child.start()
        child.terminate()
        child.join(SECONDS)
        return child.exitcode
    if how == "os.fork":
        pid = os.fork()
        if pid == 0:
            time.sleep(SECONDS)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        return -os.waitpid(pid, 0)[1]
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({SECONDS})"])
    child.terminate()
    return child.wait(SECONDS)
