"""A typical Flask application: sessions, uploads, streams, errors, files."""

import hashlib
import os
import threading

import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app = flask.Flask(__name__)
app.secret_key = "not much of a secret"
# More than the tests upload.
app.config["MAX_CONTENT_LENGTH"] = 64 << 20
app.config["MAX_FORM_MEMORY_SIZE"] = 1 << 20

FILE = os.environ.get("AMBOSS_TEST_FILE", __file__)
SECONDS = 30

go_on = threading.Semaphore(0)
may_close = threading.Event()
is_closed = threading.Event()


@app.get("/")
def hello():
    return f"Hello {flask.request.args.get('name', 'world')}!\n"


@app.get("/visits")
def visits():
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return {"visits": flask.session["visits"]}


@app.get("/forget")
def forget():
    flask.session.clear()
    return flask.redirect(flask.url_for("visits"))


@app.post("/upload")
def upload():
    file = flask.request.files["file"]
    digest = hashlib.sha256()
    size = 0
    while True:
        block = file.stream.read(1 << 16)
        if not block:
            break
        digest.update(block)
        size += len(block)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest(), "title": flask.request.form["title"]}


@app.post("/echo")
def echo():
    return flask.Response(flask.request.get_data(), mimetype="application/octet-stream")


@app.get("/blocks")
def blocks():
    def generate():
        for number in range(5):
            yield f"block {number}\n"
            # The next block is produced after the client has received this one.
            assert go_on.acquire(timeout=SECONDS)

    return flask.Response(generate(), mimetype="text/plain")


@app.post("/next")
def next_block():
    go_on.release()
    return "", 204


@app.get("/context")
def context():
    @flask.stream_with_context
    def generate():
        yield "Hello "
        yield flask.request.args["name"]
        yield f" of {flask.session.get('visits', 0)} visits!"

    return flask.Response(generate(), mimetype="text/plain")


@app.post("/shout")
def shout():
    # The generator reads the request body while the response is being sent.
    @flask.stream_with_context
    def generate():
        while True:
            block = flask.request.stream.read(1000)
            if not block:
                return
            yield block.upper()

    return flask.Response(generate(), mimetype="text/plain")


@app.get("/abort/<int:code>")
def abort(code):
    flask.abort(code)


@app.errorhandler(404)
def not_found(error):
    return {"error": "not found", "path": flask.request.path}, 404


class OutOfTea(Exception):
    pass


@app.errorhandler(OutOfTea)
def out_of_tea(error):
    return "no tea\n", 503, {"Retry-After": "60"}


@app.get("/tea")
def tea():
    raise OutOfTea


@app.get("/fail")
def fail():
    raise RuntimeError('not handled: "é"')


@app.get("/fail-midway")
def fail_midway():
    def generate():
        yield "so far so good\n"
        raise RuntimeError("in the middle")

    return flask.Response(generate(), mimetype="text/plain")


@app.get("/file")
def file():
    return flask.send_file(FILE, conditional=True, mimetype="application/octet-stream", max_age=0)


@app.get("/closing/<kind>")
def closing(kind):
    may_close.clear()
    is_closed.clear()
    if kind == "stream":
        response = flask.Response((b"%d\n" % number for number in range(3)), mimetype="text/plain")
    elif kind == "empty":
        response = flask.Response(status=204)
    else:
        response = flask.Response("whole\n", mimetype="text/plain")

    @response.call_on_close
    def wait():
        if may_close.wait(SECONDS):
            is_closed.set()

    return response


@app.post("/close")
def close():
    may_close.set()
    return {"closed": is_closed.wait(SECONDS)}


@app.get("/closed")
def closed():
    return {"closed": is_closed.is_set()}


@app.get("/secret")
def secret():
    given = flask.request.authorization
    if given is None or given.password != "sesame":
        return flask.Response("who are you?\n", 401, {"WWW-Authenticate": 'Basic realm="tests"'})
    return f"welcome {given.username}\n"


loud = flask.Flask("loud")
loud.config["PROPAGATE_EXCEPTIONS"] = True


@loud.get("/fail")
def propagate():
    try:
        {}["key"]
    except KeyError as error:
        raise RuntimeError("what Flask passes on") from error


both = flask.Flask("both")
both.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/loud": loud})
