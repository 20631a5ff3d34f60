"""Bottle and Falcon (in its WSGI mode): routes, JSON, uploads, downloads, generators."""

import hashlib

import pytest

requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import PATIENCE, WAYS, serving  # noqa: E402

BYTES = bytes(range(256)) * 4000


def start(name, way, tmp_path_factory):
    pytest.importorskip(name, reason=f"{name} is not installed")
    folder = tmp_path_factory.mktemp(name)
    file = folder / "file.bin"
    file.write_bytes(BYTES)
    return serving(f"{name}_app:app", folder, way, env={"AMBOSS_TEST_FILE": str(file)})


@pytest.fixture(scope="module", params=WAYS)
def bottle(request, tmp_path_factory):
    with start("bottle", request.param, tmp_path_factory) as program:
        yield program


@pytest.fixture(scope="module", params=WAYS)
def falcon(request, tmp_path_factory):
    with start("falcon", request.param, tmp_path_factory) as program:
        yield program


@pytest.fixture(scope="module", params=["bottle", "falcon"])
def either(request, tmp_path_factory):
    with start(request.param, WAYS[0], tmp_path_factory) as program:
        yield program


@pytest.fixture
def client():
    with requests.Session() as session:
        yield session


def test_each_block_is_seen_as_it_is_yielded(either, client):
    with requests.get(f"{either.url}/blocks", stream=True, timeout=PATIENCE) as answer:
        lines = answer.iter_lines(chunk_size=None)
        for number in range(3):
            assert next(lines) == b"block %d" % number
            assert client.post(f"{either.url}/next", timeout=PATIENCE).ok
        assert list(lines) == []


def test_an_unhandled_error_is_a_500_and_in_the_log(either, client):
    answer = client.get(f"{either.url}/fail", timeout=PATIENCE)
    assert answer.status_code == 500
    log = either.wait_for_log(r"RuntimeError: (Bottle shows|Falcon writes) this\n")
    assert log.count("Traceback (most recent call last)") == 1
    assert '    raise RuntimeError("' in log


def test_unknown_paths_and_methods(either, client):
    assert client.get(f"{either.url}/nowhere", timeout=PATIENCE).status_code == 404
    answer = client.delete(f"{either.url}/blocks", timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Allow"][:3]) == (405, "GET")


def test_bottle_routes(bottle, client):
    answer = client.get(f"{bottle.url}/hello/Zoë", timeout=PATIENCE)
    assert answer.content.decode() == "Hello Zoë!"
    # As it sets it: the UTF-8 bytes of the name, each a character.
    assert answer.headers["X-Greeting"].encode("latin-1").decode() == "Zoë"
    answer = client.get(f"{bottle.url}/old", timeout=PATIENCE)
    assert (answer.text, answer.history[0].status_code) == ("Hello world!", 303)


def test_bottle_json(bottle, client):
    answer = client.put(f"{bottle.url}/json", params={"ö": "ü"}, json={"a": [1, None]}, timeout=PATIENCE)
    assert answer.json() == {"got": {"a": [1, None]}, "method": "PUT", "query": {"ö": "ü"}}


def test_bottle_form_and_body(bottle, client):
    files = {"file": ("größe.bin", BYTES)}
    answer = client.post(f"{bottle.url}/form", data={"title": "größe"}, files=files, timeout=PATIENCE)
    assert answer.json() == {"title": "größe", "name": "größe.bin", "size": len(BYTES)}
    assert client.post(f"{bottle.url}/body", data=BYTES, timeout=PATIENCE).json() == {"size": len(BYTES)}


@pytest.mark.parametrize("path", ["file", "open-file"])
def test_bottle_files(bottle, client, path):
    assert client.get(f"{bottle.url}/{path}", timeout=PATIENCE).content == BYTES


def test_bottle_file_ranges(bottle, client):
    answer = client.get(f"{bottle.url}/file", headers={"Range": "bytes=1000-1999"}, timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (206, BYTES[1000:2000])
    condition = {"If-Modified-Since": client.head(f"{bottle.url}/file", timeout=PATIENCE).headers["Last-Modified"]}
    assert client.get(f"{bottle.url}/file", headers=condition, timeout=PATIENCE).status_code == 304


def test_bottle_signed_cookies(bottle, client):
    for number in range(1, 4):
        assert client.get(f"{bottle.url}/cookie", timeout=PATIENCE).json() == {"visits": number}


def test_falcon_resources(falcon, client):
    url = f"{falcon.url}/things/7"
    answer = client.get(url, params={"a": "b ü"}, timeout=PATIENCE)
    told = answer.json()
    assert told.pop("url").startswith(url)
    assert told == {"number": 7, "args": {"a": "b ü"}, "client": "127.0.0.1"}
    answer = client.put(url, json={"ä": 1}, timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Location"]) == (201, "/things/7")
    assert answer.json() == {"number": 7, "thing": {"ä": 1}}
    answer = client.delete(url, timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (204, b"")
    answer = client.get(f"{falcon.url}/things/100", timeout=PATIENCE)
    assert (answer.status_code, answer.json()["title"]) == (404, "no such thing")
    assert client.put(url, data=b"{", headers={"Content-Type": "application/json"}, timeout=PATIENCE).status_code == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_falcon_uploads(falcon, client, chunked):
    data = BYTES * 10
    answer = client.post(f"{falcon.url}/upload", data=iter([BYTES] * 10) if chunked else data, timeout=PATIENCE)
    assert answer.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "eof": ""}


def test_falcon_forms(falcon, client):
    answer = client.post(
        f"{falcon.url}/form", data={"title": "größe"}, files={"file": ("a.bin", BYTES)}, timeout=PATIENCE
    )
    assert answer.json() == {"title": "größe", "file": ["a.bin", len(BYTES)]}


def test_falcon_downloads(falcon, client):
    answer = client.get(f"{falcon.url}/download", timeout=PATIENCE)
    assert answer.content == BYTES
    assert answer.headers["Content-Length"] == str(len(BYTES))
    assert 'filename="ding.bin"' in answer.headers["Content-Disposition"]
