"""Applications that wait in greenlets: they run under ``-k gevent`` and ``-k eventlet``, or after a patch of their own."""

import os
import queue
import socket
import sys
import threading
import time
import urllib.request

LIBRARY = os.environ.get("PATCH")
if LIBRARY == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif LIBRARY == "eventlet":
    import eventlet

    eventlet.monkey_patch()

started = time.time()
lock = threading.Lock()
jobs: "queue.Queue[queue.Queue[str]]" = queue.Queue()
events: list[str] = []


def work() -> None:
    while True:
        jobs.get().put(threading.current_thread().name)


# A worker that is begun at import, as applications have them.
threading.Thread(target=work, name="worker", daemon=True).start()


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    plain = [("Content-Type", "text/plain")]
    if path == "/sleep":
        time.sleep(float(query))
        body = b"slept"
    elif path == "/lock":
        with lock:
            time.sleep(0.005)
        body = b"locked"
    elif path == "/queue":
        answer: queue.Queue[str] = queue.Queue()
        jobs.put(answer)
        body = answer.get().encode()
    elif path == "/fetch":
        with urllib.request.urlopen(f"http://{query}/sleep?0.2") as response:
            body = response.read()
    elif path == "/length":
        body = str(len(environ["wsgi.input"].read())).encode()
    elif path == "/relay":
        start_response("200 OK", plain)
        return relay(query)
    elif path == "/large":
        start_response("200 OK", plain)
        return (b"x" * 65536 for _ in range(int(query)))
    elif path == "/slow-close":
        start_response("200 OK", [*plain, ("Content-Length", "8")])
        return SlowClose()
    elif path == "/duplex":
        return duplex(environ, start_response)
    elif path == "/page":
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<p>page</p>"]
    elif path == "/events":
        body = ",".join(events).encode()
    elif path == "/closing":
        start_response("200 OK", plain)
        return Closing()
    elif path == "/spin":
        end = time.monotonic() + float(query)
        while time.monotonic() < end:
            pass
        body = b"spun"
    elif path == "/info":
        body = f"{os.getpid()} {environ['wsgi.multithread']} {'threading' in sys.modules}".encode()
    elif path == "/boom":
        raise ValueError("boom")
    else:
        body = b"hello"
    start_response("200 OK", plain)
    return [body]


def relay(address):
    """Yields what another server sends, as it arrives."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        while True:
            data = connection.recv(1000)
            if not data:
                return
            yield data


def duplex(environ, start_response):
    """Writes as many bytes as it reads, at the same time."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    read = []

    def receive():
        while True:
            data = environ["wsgi.input"].read(65536)
            if not data:
                return
            read.append(len(data))

    reader = threading.Thread(target=receive)
    reader.start()
    for _ in range(int(environ["CONTENT_LENGTH"]) // 64000):
        write(b"x" * 64000)
    reader.join()
    return [str(sum(read)).encode()]


class SlowClose:
    def __iter__(self):
        yield b"answered"

    def close(self):
        time.sleep(0.5)
        sys.stderr.write("closed slowly\n")


class Closing:
    """Blocks until the client is gone, and notes that it was closed."""

    def __iter__(self):
        while True:
            yield b"x" * 65536

    def close(self):
        events.append("closed")


def flask_app():
    import flask
    import flask_sock

    made = flask.Flask(__name__)
    sock = flask_sock.Sock(made)

    @made.get("/sleep")
    def sleep():
        time.sleep(float(flask.request.args["seconds"]))
        return flask.request.args["name"]

    @sock.route("/echo")
    def echo(connection):
        while True:
            connection.send(connection.receive())

    return made
