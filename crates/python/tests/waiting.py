"""Waiting for a condition with a deadline."""

import time
from typing import Callable, TypeVar

#: How long anything may take before a test fails, in seconds. Machines that run tests are busy.
TIMEOUT = 30.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str = "the condition", timeout: float = TIMEOUT) -> T:
    """Calls ``condition`` until its result is true, and returns the result.

    :param what: names the condition in the failure
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(0.005)
