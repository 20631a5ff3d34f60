"""A Bottle application: routes, JSON, forms, files, generators."""

import os
import threading

import bottle

app = application = bottle.Bottle()

FILE = os.environ.get("AMBOSS_TEST_FILE", __file__)
SECONDS = 30

go_on = threading.Semaphore(0)


@app.get("/hello/<name>")
def hello(name):
    bottle.response.set_header("X-Greeting", name)
    return f"Hello {name}!"


@app.route("/json", ["GET", "PUT"])
def as_json():
    return {"got": bottle.request.json, "method": bottle.request.method, "query": dict(bottle.request.query.decode())}


@app.post("/form")
def form():
    upload = bottle.request.files["file"]
    data = upload.file.read()
    return {"title": bottle.request.forms.getunicode("title"), "name": upload.raw_filename, "size": len(data)}


@app.post("/body")
def body():
    total = 0
    # Accessing the property rewinds the body.
    stream = bottle.request.body
    for block in iter(lambda: stream.read(1 << 16), b""):
        total += len(block)
    return {"size": total}


@app.get("/file")
def file():
    return bottle.static_file(os.path.basename(FILE), os.path.dirname(FILE), mimetype="application/octet-stream")


@app.get("/open-file")
def open_file():
    bottle.response.content_type = "application/octet-stream"
    return open(FILE, "rb")


@app.get("/blocks")
def blocks():
    for number in range(3):
        yield f"block {number}\n"
        assert go_on.acquire(timeout=SECONDS)


@app.post("/next")
def next_block():
    go_on.release()
    bottle.response.status = 204


@app.get("/cookie")
def cookie():
    visits = int(bottle.request.get_cookie("visits", secret="hush") or 0) + 1
    bottle.response.set_cookie("visits", str(visits), secret="hush")
    return {"visits": visits}


@app.get("/old")
def old():
    bottle.redirect("/hello/world")


@app.get("/fail")
def fail():
    raise RuntimeError("Bottle shows this")
