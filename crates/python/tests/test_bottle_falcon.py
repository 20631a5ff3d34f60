"""Bottle and Falcon (in its WSGI mode): routes, JSON, uploads, downloads, generators."""

import hashlib

import pytest

requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import WAYS, serving  # noqa: E402
from waiting import TIMEOUT  # noqa: E402

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


def test_each_block_is_sent_when_it_is_yielded(either, client):
    with requests.get(f"{either.url}/blocks", stream=True, timeout=TIMEOUT) as response:
        lines = response.iter_lines(chunk_size=None)
        for number in range(3):
            assert next(lines) == b"block %d" % number
            assert client.post(f"{either.url}/next", timeout=TIMEOUT).ok
        assert list(lines) == []


def test_an_unhandled_error_is_a_500_and_in_the_log(either, client):
    response = client.get(f"{either.url}/fail", timeout=TIMEOUT)
    assert response.status_code == 500
    log = either.wait_for_log(r"RuntimeError: (Bottle shows|Falcon writes) this\n")
    assert log.count("Traceback (most recent call last)") == 1
    assert '    raise RuntimeError("' in log


def test_unknown_paths_are_404_and_unknown_methods_405(either, client):
    assert client.get(f"{either.url}/nowhere", timeout=TIMEOUT).status_code == 404
    response = client.delete(f"{either.url}/blocks", timeout=TIMEOUT)
    assert (response.status_code, response.headers["Allow"][:3]) == (405, "GET")


def test_bottle_routes_requests(bottle, client):
    response = client.get(f"{bottle.url}/hello/Zoë", timeout=TIMEOUT)
    assert response.content.decode() == "Hello Zoë!"
    # Bottle encodes the header as UTF-8, and each byte becomes a character.
    assert response.headers["X-Greeting"].encode("latin-1").decode() == "Zoë"
    response = client.get(f"{bottle.url}/old", timeout=TIMEOUT)
    assert (response.text, response.history[0].status_code) == ("Hello world!", 303)


def test_bottle_parses_and_sends_json(bottle, client):
    response = client.put(f"{bottle.url}/json", params={"ö": "ü"}, json={"a": [1, None]}, timeout=TIMEOUT)
    assert response.json() == {"got": {"a": [1, None]}, "method": "PUT", "query": {"ö": "ü"}}


def test_bottle_parses_forms_and_reads_bodies(bottle, client):
    files = {"file": ("größe.bin", BYTES)}
    response = client.post(f"{bottle.url}/form", data={"title": "größe"}, files=files, timeout=TIMEOUT)
    assert response.json() == {"title": "größe", "name": "größe.bin", "size": len(BYTES)}
    assert client.post(f"{bottle.url}/body", data=BYTES, timeout=TIMEOUT).json() == {"size": len(BYTES)}


@pytest.mark.parametrize("path", ["file", "open-file"])
def test_bottle_sends_files(bottle, client, path):
    assert client.get(f"{bottle.url}/{path}", timeout=TIMEOUT).content == BYTES


def test_bottle_sends_ranges_of_files(bottle, client):
    response = client.get(f"{bottle.url}/file", headers={"Range": "bytes=1000-1999"}, timeout=TIMEOUT)
    assert (response.status_code, response.content) == (206, BYTES[1000:2000])
    condition = {"If-Modified-Since": client.head(f"{bottle.url}/file", timeout=TIMEOUT).headers["Last-Modified"]}
    assert client.get(f"{bottle.url}/file", headers=condition, timeout=TIMEOUT).status_code == 304


def test_bottle_signs_cookies(bottle, client):
    for number in range(1, 4):
        assert client.get(f"{bottle.url}/cookie", timeout=TIMEOUT).json() == {"visits": number}


def test_falcon_routes_requests_to_resources(falcon, client):
    url = f"{falcon.url}/things/7"
    response = client.get(url, params={"a": "b ü"}, timeout=TIMEOUT)
    info = response.json()
    assert info.pop("url").startswith(url)
    assert info == {"number": 7, "args": {"a": "b ü"}, "client": "127.0.0.1"}
    response = client.put(url, json={"ä": 1}, timeout=TIMEOUT)
    assert (response.status_code, response.headers["Location"]) == (201, "/things/7")
    assert response.json() == {"number": 7, "thing": {"ä": 1}}
    response = client.delete(url, timeout=TIMEOUT)
    assert (response.status_code, response.content) == (204, b"")
    response = client.get(f"{falcon.url}/things/100", timeout=TIMEOUT)
    assert (response.status_code, response.json()["title"]) == (404, "no such thing")
    assert client.put(url, data=b"{", headers={"Content-Type": "application/json"}, timeout=TIMEOUT).status_code == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_falcon_reads_uploads(falcon, client, chunked):
    data = BYTES * 10
    response = client.post(f"{falcon.url}/upload", data=iter([BYTES] * 10) if chunked else data, timeout=TIMEOUT)
    assert response.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "eof": ""}


def test_falcon_parses_forms(falcon, client):
    response = client.post(
        f"{falcon.url}/form", data={"title": "größe"}, files={"file": ("a.bin", BYTES)}, timeout=TIMEOUT
    )
    assert response.json() == {"title": "größe", "file": ["a.bin", len(BYTES)]}


def test_falcon_sends_files(falcon, client):
    response = client.get(f"{falcon.url}/download", timeout=TIMEOUT)
    assert response.content == BYTES
    assert response.headers["Content-Length"] == str(len(BYTES))
    assert 'filename="ding.bin"' in response.headers["Content-Disposition"]
