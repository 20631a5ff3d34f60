"""Which driver the tests of PEP 3333 run with: threads, or greenlets of gevent or eventlet."""

import os

import pytest

#: The library in whose greenlets the servers of these tests run requests; ``None`` for threads.
GREENLETS = os.environ.get("AMBOSS_TEST_GREENLETS")

#: The options of servers whose requests run in threads or processes in any case.
THREAD_OPTIONS = {"threads", "threaded", "processes", "passthrough_errors", "worker_class"}

#: For tests whose applications wait for another request in a way that stops all greenlets, or use a request in a thread.
needs_threads = pytest.mark.skipif(GREENLETS is not None, reason="the application blocks, or uses threads")
