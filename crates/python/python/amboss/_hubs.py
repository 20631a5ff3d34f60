"""The hubs of gevent and eventlet, as far as a server that is their guest needs them.

A hub runs in a greenlet of its own. Callbacks run there too, and must not block; they switch into the greenlets that may.
"""

import importlib
from typing import Any, Callable, Protocol

Callback = Callable[[], None]


class Hub(Protocol):
    """The hub of the current thread."""

    def watch(self, descriptor: int, callback: Callback) -> None:
        """Calls ``callback`` whenever the descriptor is readable, until :meth:`close`."""

    def call_soon(self, callback: Callback) -> None:
        """Calls ``callback`` after the greenlets that are ready to run."""

    def call_later(self, seconds: float, callback: Callback) -> Callback:
        """Calls ``callback`` once, after this time. Returns a function that cancels the call."""

    def start(self, function: Callable[[Any], None], argument: Any) -> None:
        """Starts a greenlet from a callback, and returns when it waits for the first time or ends."""

    def switch(self) -> None:
        """Lets other greenlets run until something switches back to this one."""

    def close(self) -> None:
        """Ends what :meth:`watch` has begun."""


class GeventHub:
    """The hub of gevent."""

    def __init__(self) -> None:
        self._hub: Any = importlib.import_module("gevent").get_hub()
        self._watcher: Any = None
        self._greenlet = greenlet_type()
        self.switch: Callback = self._hub.switch
        self.call_soon: Callable[[Callback], Any] = self._hub.loop.run_callback

    def watch(self, descriptor: int, callback: Callback) -> None:
        self._watcher = self._hub.loop.io(descriptor, 1)
        self._watcher.start(callback)

    def call_later(self, seconds: float, callback: Callback) -> Callback:
        timer = self._hub.loop.timer(seconds)
        timer.start(callback)

        def cancel() -> None:
            timer.stop()
            timer.close()

        return cancel

    def start(self, function: Callable[[Any], None], argument: Any) -> None:
        self._greenlet(function, self._hub).switch(argument)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()


class EventletHub:
    """The hub of eventlet."""

    def __init__(self) -> None:
        self._hub: Any = importlib.import_module("eventlet.hubs").get_hub()
        self._listener: Any = None
        self._greenlet = greenlet_type()

    def watch(self, descriptor: int, callback: Callback) -> None:
        self._listener = self._hub.add(
            self._hub.READ, descriptor, lambda _: callback(), lambda *_: None, lambda *_: None
        )

    def call_soon(self, callback: Callback) -> None:
        self._hub.schedule_call_global(0, callback)

    def call_later(self, seconds: float, callback: Callback) -> Callback:
        cancel: Callback = self._hub.schedule_call_global(seconds, callback).cancel
        return cancel

    def start(self, function: Callable[[Any], None], argument: Any) -> None:
        self._greenlet(function, self._hub.greenlet).switch(argument)

    def switch(self) -> None:
        self._hub.switch()

    def close(self) -> None:
        if self._listener is not None:
            self._hub.remove(self._listener)


def hub_of(library: str) -> Hub:
    """Returns the hub of the current thread."""
    return EventletHub() if library == "eventlet" else GeventHub()


def greenlet_type() -> Any:
    """Returns the type of greenlets."""
    return importlib.import_module("greenlet").greenlet


def current_greenlet() -> Callable[[], Any]:
    """Returns the function that returns the greenlet that runs."""
    getcurrent: Callable[[], Any] = importlib.import_module("greenlet").getcurrent
    return getcurrent
