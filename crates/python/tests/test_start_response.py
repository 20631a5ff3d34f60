"""``start_response``, as PEP 3333 has it."""


def test_hello(serve):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"Hello"]

    answer = serve(app).get()
    assert (answer.status, answer.reason, answer.body, answer.complete) == (200, "OK", b"Hello", True)
