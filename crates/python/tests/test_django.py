"""Django: a project made by ``startproject``, with admin pages, static files, forms, streams and files."""

import http.cookiejar
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

pytest.importorskip("django", reason="Django is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")

from programs import APPS, WAYS, serving  # noqa: E402
from waiting import TIMEOUT  # noqa: E402

BYTES = bytes(range(256)) * 4000

# `manage.py runserver` serves static files in the same way while DEBUG is on.
DEBUG_WSGI = """\
import os
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
application = StaticFilesHandler(get_wsgi_application())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Creates a project with a superuser, ann, and the pages of the tests."""
    folder = tmp_path_factory.mktemp("django")

    def run(*arguments):
        env = {"DJANGO_SUPERUSER_PASSWORD": "sesame", "PATH": ""}
        done = subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    run("-m", "django", "startproject", "site1", ".")
    shutil.copy(APPS / "django_pages.py", folder / "site1" / "urls.py")
    (folder / "site1" / "debug_wsgi.py").write_text(DEBUG_WSGI)
    (folder / "file.bin").write_bytes(BYTES)
    run("manage.py", "migrate", "--verbosity", "0")
    run("manage.py", "createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.com")
    return folder


@pytest.fixture(scope="module", params=WAYS)
def django(request, project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    with serving("site1.debug_wsgi:application", folder, request.param, path=project) as program:
        yield program


@pytest.fixture
def client():
    with requests.Session() as session:
        yield session


def credentials(page):
    """Returns the fields of the login form for ann."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text).group(1)
    return {"username": "ann", "password": "sesame", "csrfmiddlewaretoken": token}


def test_a_user_logs_in_to_the_admin_pages(django, client):
    login = f"{django.url}/admin/login/?next=/admin/"
    page = client.get(f"{django.url}/admin/", timeout=TIMEOUT)
    assert page.url == login and page.history[0].status_code == 302
    data = credentials(page)

    wrong = client.post(login, data={**data, "password": "open"}, timeout=TIMEOUT)
    assert "Please enter the correct username and password" in wrong.text
    page = client.post(login, data=data, timeout=TIMEOUT)
    assert (page.status_code, page.url) == (200, f"{django.url}/admin/")
    assert "Site administration" in page.text
    page = client.get(f"{django.url}/admin/auth/user/", timeout=TIMEOUT)
    assert "ann@example.com" in page.text


def test_a_form_without_its_csrf_token_is_rejected(django, client):
    response = client.post(f"{django.url}/admin/login/", data={"username": "ann"}, timeout=TIMEOUT)
    assert response.status_code == 403
    assert "CSRF" in response.text


def test_urllib_logs_in(django):
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    login = f"{django.url}/admin/login/?next=/admin/"
    opener.open(login, timeout=TIMEOUT).read()
    token = {cookie.name: cookie.value for cookie in jar}["csrftoken"]
    data = urllib.parse.urlencode({"username": "ann", "password": "sesame", "csrfmiddlewaretoken": token})
    with opener.open(login, data.encode(), timeout=TIMEOUT) as page:
        assert page.url == f"{django.url}/admin/"
        assert b"Site administration" in page.read()
    assert {cookie.name for cookie in jar} == {"csrftoken", "sessionid"}


def test_static_files_are_served_in_debug_mode(django, client):
    url = f"{django.url}/static/admin/css/base.css"
    response = client.get(url, timeout=TIMEOUT)
    assert response.headers["Content-Type"].startswith("text/css")
    assert int(response.headers["Content-Length"]) == len(response.content) > 1000
    condition = {"If-Modified-Since": response.headers["Last-Modified"]}
    assert client.get(url, headers=condition, timeout=TIMEOUT).status_code == 304
    assert client.head(url, timeout=TIMEOUT).headers["Content-Length"] == response.headers["Content-Length"]
    assert client.get(f"{django.url}/static/nothing.css", timeout=TIMEOUT).status_code == 404


@pytest.mark.parametrize(
    ("size", "how"), [(10_000, "InMemoryUploadedFile"), (5_000_000, "TemporaryUploadedFile")], ids=["small", "large"]
)
def test_a_form_with_a_file_is_parsed(django, client, size, how):
    url = f"{django.url}/form"
    token = re.search(r'value="(\w+)"', client.get(url, timeout=TIMEOUT).text).group(1)
    data = {"title": "größe", "csrfmiddlewaretoken": token}
    page = client.post(url, data=data, files={"file": ("ä.bin", b"x" * size)}, timeout=TIMEOUT)
    assert f"größe: ä.bin, {size} bytes, {how}" in page.text
    page = client.post(url, data={**data, "title": "x" * 21}, files={"file": ("a", b"x")}, timeout=TIMEOUT)
    assert "at most 20 characters" in page.text


def test_each_block_is_sent_when_it_is_yielded(django, client):
    with requests.get(f"{django.url}/stream", stream=True, timeout=TIMEOUT) as response:
        lines = response.iter_lines(chunk_size=None)
        for number in range(3):
            assert next(lines) == b"block %d" % number
            assert client.post(f"{django.url}/next", timeout=TIMEOUT).status_code == 204
        assert list(lines) == []


def test_a_file_is_sent_by_the_file_wrapper(django, client):
    assert client.get(f"{django.url}/info/x", timeout=TIMEOUT).json()["wrapper"] == "FileWrapper"
    response = client.get(f"{django.url}/file", timeout=TIMEOUT)
    assert response.content == BYTES
    assert response.headers["Content-Length"] == str(len(BYTES))
    assert "filename*=utf-8''gr%C3%B6%C3%9Fe.bin" in response.headers["Content-Disposition"]


def test_paths_queries_and_headers_reach_the_view(django, client):
    response = client.get(f"{django.url}/info/ö%25", params={"q": "ü"}, headers={"X-Some": "thing"}, timeout=TIMEOUT)
    info = response.json()
    assert info["path"] == "/info/ö%"
    assert info["host"] == django.url[len("http://") :]
    assert info["uri"] == f"{django.url}/info/%C3%B6%25?q=%C3%BC"
    assert info["headers"]["X-Some"] == "thing"
    assert "Content-Type" not in info["headers"] or info["headers"]["Content-Type"] == ""


def test_a_body_is_read_to_its_declared_end(django, client):
    response = client.post(f"{django.url}/body", data=BYTES, timeout=TIMEOUT)
    assert response.json() == {"size": len(BYTES)}


def test_an_error_shows_the_debug_page_and_logs_a_traceback(django):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{django.url}/fail", timeout=TIMEOUT)
    assert raised.value.code == 500
    assert "Django shows this" in raised.value.read().decode()
    log = django.wait_for_log(r"RuntimeError: Django shows this\n")
    assert '    raise RuntimeError("Django shows this")\n' in log
    assert log.count("Traceback (most recent call last)") == 1


def test_a_host_that_is_not_allowed_is_a_400(django):
    with django.connect() as connection:
        connection.sendall(b"GET /info/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_concurrent_requests_share_the_database(django, client):
    failures = []
    # Sessions and users are both stored in the database.
    page = client.get(f"{django.url}/admin/", timeout=TIMEOUT)
    page = client.post(page.url, data=credentials(page), timeout=TIMEOUT)
    assert "Site administration" in page.text
    cookies = client.cookies.get_dict()

    def ask():
        try:
            for _ in range(10):
                response = requests.get(f"{django.url}/admin/auth/user/", cookies=cookies, timeout=TIMEOUT)
                assert "ann@example.com" in response.text
                assert json.loads(requests.get(f"{django.url}/info/x", timeout=TIMEOUT).text)["path"] == "/info/x"
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
