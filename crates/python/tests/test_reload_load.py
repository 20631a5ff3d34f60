"""Reloads that no client notices."""

import pytest
from commands import Folder, app, serving_command
from load import Load

ROUNDS = 20

#: Three hundred requests a second, and one of two seconds running at all times.
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
        pids = [server.serves("version 0")]
        with Load(server, CLIENTS + 1, EACH, ["/slow", "/"]) as load:
            load.more(CLIENTS)
            before = load.answered
            for number in range(1, ROUNDS + 1):
                folder.save("shop.py", serving(f"version {number}"))
                pids.append(server.serves(f"version {number}"))
            load.more_of("/slow", 2)
            answered = load.answered - before
        assert load.failures == [], server.log()
    assert len(set(pids)) == ROUNDS + 1
    # Machines that run tests are busy, and take as much longer to reload: so many show that it was a load.
    assert answered > ROUNDS * 30


def test_a_running_request_finishes_with_the_old_code_and_its_connection_goes_on_with_the_new(tmp_path):
    folder = Folder(tmp_path / "work")
    folder.save("shop.py", serving("old"))
    with serving_command(folder.path, "-r", "shop:app") as server:
        old = server.serves("old")
        with server.client() as running, server.client() as idle:
            assert idle.get().body == b"old %d" % old
            running.request("/slow")
            folder.save("shop.py", serving("new"))
            new = server.serves("new")
            # As soon as the old process has heard that it is over.
            server.eventually("it goes over", lambda: idle.get().body == b"new %d" % new)
            assert running.answer().body == b"old %d" % old
            assert running.get().body == b"new %d" % new
