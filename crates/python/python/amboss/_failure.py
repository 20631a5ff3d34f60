"""Collects an exception for the debugger's pages: its frames with their locals, and its causes.

The result is JSON in the form that ``json.rs`` of the crate ``amboss-debugger`` documents. ``repr`` runs code of the
application, so everything here has a limit, and no failure of that code leaves this module.
"""

import contextvars
import gc
import json
import platform
import reprlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import FunctionType, ModuleType, TracebackType
from typing import Any, Optional

#: The maximum number of exceptions in the chain of causes.
MAX_CAUSES = 20
#: The maximum number of frames of an exception. Recursion fills the middle, which is left out.
MAX_FRAMES = 60
#: The maximum number of locals of a frame.
MAX_LOCALS = 60
#: The maximum length of a printed value, in characters.
MAX_VALUE = 200
#: The maximum number of items of a container of the application's own type that its ``repr`` may print.
MAX_ITEMS = 1000
#: The maximum size of an integer that is printed, in bits. Printing takes quadratic time.
MAX_BITS = 1000
#: The maximum size of a container whose own ``repr`` is called, in characters and bytes of the texts in it.
MAX_SIZE = 20_000
#: Types whose ``repr`` prints what they contain.
CONTAINERS = (str, list, tuple, dict, set, frozenset, deque)
#: How long values are printed with their own ``repr``, in seconds.
TIME = 0.5
#: How long the whole report may take, in seconds. A call that goes on for longer is left alone in its thread, and the
#: report is made without the texts of the application's values.
MAX_TIME = 2
#: How many threads may be left alone with such calls; after that, values are not printed at all.
MAX_THREADS = 4
#: The name of these threads.
THREAD = "amboss-report"


def collect(error: BaseException, traceback: Optional[TracebackType] = None) -> str:
    """Returns the report of an exception as JSON. ``traceback`` replaces the one of the exception."""
    if traceback is not None:
        error = error.with_traceback(traceback)
    if sum(thread.name == THREAD for thread in threading.enumerate()) >= MAX_THREADS:
        return _report(error, Types())
    reports: list[str] = []
    # The values of context variables, which proxies such as Flask's request stand for.
    context = contextvars.copy_context()
    work = threading.Thread(
        target=lambda: reports.append(context.run(_report, error, Printer())), name=THREAD, daemon=True
    )
    try:
        work.start()
    except RuntimeError:
        # The system has no thread, or the interpreter is ending.
        return _report(error, Types())
    work.join(MAX_TIME)
    return reports[0] if reports else _report(error, Types())


def _report(error: BaseException, printer: "Printer") -> str:
    causes = [_cause(exception, is_context, printer) for exception, is_context in _chain(error)]
    return json.dumps({"causes": causes, "versions": {"python": platform.python_version()}})


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """Yields the exception and its causes, each with whether the one before it was raised while it was handled.

    The exceptions of a group are its causes.
    """
    seen: set[int] = set()
    pending: list[tuple[Optional[BaseException], bool]] = [(error, False)]
    while pending and len(seen) < MAX_CAUSES:
        following, is_context = pending.pop(0)
        if following is None or id(following) in seen:
            continue
        seen.add(id(following))
        yield following, is_context
        members = getattr(following, "exceptions", ()) if _is_group(following) else ()
        causes: list[tuple[Optional[BaseException], bool]] = [(member, False) for member in members]
        if following.__cause__ is not None:
            causes.append((following.__cause__, False))
        elif not following.__suppress_context__:
            causes.append((following.__context__, True))
        pending = [*causes, *pending]


def _is_group(error: BaseException) -> bool:
    # ``BaseExceptionGroup`` exists since Python 3.11, and as a package of the same name for earlier ones.
    return any(kind.__name__ == "BaseExceptionGroup" for kind in type(error).__mro__)


def _cause(error: BaseException, is_context: bool, printer: "Printer") -> dict[str, Any]:
    frames = _frames(error.__traceback__, printer)
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        # The code that can't be compiled has no frame.
        line = error.lineno if isinstance(error.lineno, int) else 0
        frames.insert(0, {"file": _text(error.filename), "line": line, "function": "", "locals": []})
    message = printer.message(error)
    return {"kind": _type_name(type(error)), "message": message, "is_context": is_context, "frames": frames}


def _message(error: BaseException) -> str:
    try:
        notes = getattr(error, "__notes__", [])
        return _text("\n".join([str(error), *(str(note) for note in notes)]))
    except BaseException as unprintable:  # noqa: BLE001 - whatever the application's code raises
        return f"<its text can't be printed: {_type_name(type(unprintable))}>"


def _frames(traceback: Optional[TracebackType], printer: "Printer") -> list[dict[str, Any]]:
    """Returns the frames, the innermost first."""
    entries = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    entries.reverse()
    if len(entries) <= MAX_FRAMES:
        return [_frame(entry, printer) for entry in entries]
    inner, outer = MAX_FRAMES * 2 // 3, MAX_FRAMES // 3
    left_out = f"… {len(entries) - inner - outer} frames are left out …"
    return [
        *(_frame(entry, printer) for entry in entries[:inner]),
        {"file": "", "line": 0, "function": left_out, "locals": []},
        *(_frame(entry, printer) for entry in entries[-outer:]),
    ]


def _frame(entry: TracebackType, printer: "Printer") -> dict[str, Any]:
    code = entry.tb_frame.f_code
    # Modules have names such as `__builtins__`, which say nothing about the failure.
    values = [(name, value) for name, value in entry.tb_frame.f_locals.items() if not name.startswith("__")]
    return {
        "file": _text(code.co_filename),
        "line": entry.tb_lineno or 0,
        # Since Python 3.11, with the class.
        "function": _text(getattr(code, "co_qualname", code.co_name)),
        "locals": [[_text(name), printer.print(value)] for name, value in values[:MAX_LOCALS]],
    }


class Printer(reprlib.Repr):
    """Prints values within limits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 8
        self.maxdict = 8
        self.maxstring = self.maxother = MAX_VALUE
        self._deadline = time.monotonic() + TIME

    def message(self, error: BaseException) -> str:
        """Returns the text of an exception."""
        return _message(error)

    def print(self, value: Any) -> str:
        """Returns the printed value."""
        try:
            text = _text(self.repr(value))
        except BaseException as error:  # noqa: BLE001 - whatever the application's code raises
            text = _unprintable(value, error)
        return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"

    # The names of the parameters are those of reprlib.
    def repr_instance(self, x: Any, level: int) -> str:
        """Called for each value whose type reprlib does not know."""
        # Not isinstance, which asks the value for its class: a proxy may stand for another value, or raise.
        kind = type(x)
        try:
            if issubclass(kind, (bytes, bytearray)):
                return repr(bytes(x[:MAX_VALUE])) + ("…" if len(x) > MAX_VALUE else "")
            if issubclass(kind, (str, list, tuple, dict, set, frozenset)) and len(x) > MAX_ITEMS:
                return f"<{_type_name(kind)} of {len(x)} items>"
            if time.monotonic() > self._deadline:
                return f"<{_type_name(kind)}>"
            if (issubclass(kind, CONTAINERS) or hasattr(kind, "__dataclass_fields__")) and not _is_small(x):
                return f"<{_type_name(kind)}>"
            return repr(x)
        except BaseException as error:  # noqa: BLE001 - whatever the application's code raises
            return _unprintable(x, error)

    def repr_int(self, x: int, level: int) -> str:
        """Called for integers."""
        return repr(x) if x.bit_length() <= MAX_BITS else f"<int of {x.bit_length()} bits>"


class Types(Printer):
    """Prints only the types of values, so that no code of the application runs."""

    def message(self, error: BaseException) -> str:
        """Returns the text of an exception, as far as it is a plain one."""
        texts = [argument for argument in error.args if type(argument) is str]
        return _text(texts[0][:MAX_VALUE]) if texts else ""

    def print(self, value: Any) -> str:
        """Returns the type."""
        return f"<{_type_name(type(value))}>"


def _is_small(value: Any) -> bool:
    """Whether the texts that are reachable from a container are so short that its ``repr`` is."""
    size, seen, pending = 0, {id(value)}, [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (str, bytes, bytearray)):
            size += len(item)
        elif isinstance(item, (type, ModuleType, FunctionType)):
            continue
        size += 1
        if size > MAX_SIZE:
            return False
        for inner in gc.get_referents(item):
            if id(inner) not in seen:
                seen.add(id(inner))
                pending.append(inner)
    return True


def _unprintable(value: Any, error: BaseException) -> str:
    return f"<{_type_name(type(value))}: repr raises {_type_name(type(error))}>"


def _type_name(kind: type) -> str:
    """Returns the name of a type as tracebacks print it."""
    name, module = str(kind.__qualname__), kind.__module__
    return _text(name if module in ("builtins", "__main__") else f"{module}.{name}")


def _text(text: str) -> str:
    """Returns the text without lone surrogates, which JSON in UTF-8 can't contain."""
    return str(text).encode("utf-8", "backslashreplace").decode()
