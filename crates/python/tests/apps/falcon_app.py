"""A Falcon application in WSGI mode: resources, media, streams in both directions."""

import hashlib
import os
import threading

import falcon

FILE = os.environ.get("AMBOSS_TEST_FILE", __file__)
SECONDS = 30

go_on = threading.Semaphore(0)


class Things:
    def on_get(self, req, resp, number):
        if number > 99:
            raise falcon.HTTPNotFound(title="no such thing", description=f"there is no number {number}")
        resp.media = {"number": number, "args": req.params, "client": req.remote_addr, "url": req.url}

    def on_put(self, req, resp, number):
        resp.media = {"number": number, "thing": req.get_media()}
        resp.status = falcon.HTTP_201
        resp.location = f"/things/{number}"

    def on_delete(self, req, resp, number):
        resp.status = falcon.HTTP_204


class Upload:
    def on_post(self, req, resp):
        digest = hashlib.sha256()
        size = 0
        # Falcon's bounded stream ends at Content-Length; a chunked body must be read from the stream itself.
        stream = req.bounded_stream if req.content_length is not None else req.stream
        for block in iter(lambda: stream.read(1 << 16), b""):
            digest.update(block)
            size += len(block)
        resp.media = {"size": size, "sha256": digest.hexdigest(), "eof": stream.read()}
        resp.media["eof"] = resp.media["eof"].decode()


class Form:
    def on_post(self, req, resp):
        parts = {}
        for part in req.get_media():
            parts[part.name] = part.text if part.filename is None else [part.filename, len(part.stream.read())]
        resp.media = parts


class Download:
    def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_JSON
        resp.set_stream(open(FILE, "rb"), os.path.getsize(FILE))
        resp.downloadable_as = "ding.bin"


class Blocks:
    def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = self.generate()

    def generate(self):
        for number in range(3):
            yield b"block %d\n" % number
            assert go_on.acquire(timeout=SECONDS)


class Next:
    def on_post(self, req, resp):
        go_on.release()


class Fail:
    def on_get(self, req, resp):
        raise RuntimeError("Falcon writes this")


app = application = falcon.App()
app.add_route("/things/{number:int}", Things())
app.add_route("/upload", Upload())
app.add_route("/form", Form())
app.add_route("/download", Download())
app.add_route("/blocks", Blocks())
app.add_route("/next", Next())
app.add_route("/fail", Fail())
