"""Reloads under load: no client notices them."""

import pytest

from commands import Folder, app, serving_command
from load import Load

ROUNDS = 20

#: These clients send three hundred requests a second; one request of two seconds is running at all times.
CLIENTS = 9
EACH = 0.03

MORE = """
import time
quick = app

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(2)
    return quick(environ, start_response)
"""


def serving(version):
    return app(version) + MORE


@pytest.mark.takes(600)
def test_twenty_reloads_under_load_lose_no_request(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", serving("version 0"))
    with serving_command(folder.path, "-r", "shop:app") as server:
        pids = [server.wait_for_version("version 0")]
        with Load(server, CLIENTS + 1, EACH, ["/slow", "/"]) as load:
            load.wait_for_more(CLIENTS)
            before = load.answered
            for number in range(1, ROUNDS + 1):
                folder.save("shop.py", serving(f"version {number}"))
                pids.append(server.wait_for_version(f"version {number}"))
            load.wait_for_more_of("/slow", 2)
            answered = load.answered - before
        assert load.failures == [], server.log()
    assert len(set(pids)) == ROUNDS + 1
    # Busy machines take longer to reload. This number of requests shows that there was load.
    assert answered > ROUNDS * 30


def test_a_running_request_finishes_with_the_old_code_and_its_connection_continues_with_the_new(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", serving("old"))
    with serving_command(folder.path, "-r", "shop:app") as server:
        old = server.wait_for_version("old")
        with server.client() as running, server.client() as idle:
            assert idle.get().body == b"old %d" % old
            running.request("/slow")
            folder.save("shop.py", serving("new"))
            new = server.wait_for_version("new")
            # When the old process learns that it is replaced.
            server.wait_until(lambda: idle.get().body == b"new %d" % new, "the connection to move")
            assert running.read_response().body == b"old %d" % old
            assert running.get().body == b"new %d" % new
