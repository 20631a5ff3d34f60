"""Prepares a spare worker: an interpreter that has imported the program's libraries, and waits for the next reload.

A spare does ahead of time exactly what a new worker would do first: the imports of installed modules at the top of the
program's own modules, in their order, before any other statement of the program. So it is in the same state as a new
worker at that point, whatever the program does afterwards. It runs no code of the program.

It gives up, and a new worker is started as usual, if one of these imports does something that must not happen ahead of
time (see :class:`_Observer`), if anything that was read has changed since, or if the program begins differently by now.
"""

import _thread
import ast
import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder, SourceFileLoader
from typing import Any, NamedTuple, Optional, Union

from ._loader import locate
from ._modules import PACKAGES

#: Libraries that replace parts of the standard library: a program with one of them begins by doing so.
PATCHING = ("gevent", "eventlet")


class _Import(NamedTuple):
    """An import statement, with absolute names: ``from module import names``, or ``import module`` without names."""

    module: str
    names: tuple[str, ...]


class _Beginning(NamedTuple):
    """The import statements at the top of a source file."""

    imports: tuple[tuple[str, int, tuple[str, ...]], ...]
    #: The names that the statements assign, except for those of modules of the same package.
    names: frozenset[str]
    #: Whether the file has no other statements.
    is_whole: bool
    #: The source, up to the first line of the first other statement.
    source: bytes


def prepare(target: str) -> bool:
    """Imports the libraries with which the program begins.

    :param target: as for :func:`amboss._loader.load_app`
    :returns: whether the interpreter may wait now; if not, it has to end, as it has to if a library can't be imported
    """
    global _spare
    spare = _Spare(target)
    if not spare.prepare():
        return False
    _spare = spare
    return True


def is_current() -> bool:
    """Whether a worker that is started now would be in the state of this interpreter."""
    return _spare is not None and _spare.is_current()


class _Spare:
    def __init__(self, target: str) -> None:
        self._folders, self._module = locate(target)
        self._beginnings: dict[str, _Beginning] = {}
        self._done: list[_Import] = []
        self._observer = _Observer()

    def prepare(self) -> bool:
        # As when the program is loaded.
        for folder in self._folders:
            sys.path.insert(0, folder)
        imports = list(_Imports(self._module, self._beginnings))
        if any(statement.module.partition(".")[0] in PATCHING for statement in imports):
            return False
        with self._observer:
            for module, names in imports:
                __import__(module, {}, {}, names, 0)
        self._done = imports
        if not all(_is_in_package(os.path.realpath(file)) for file in self._observer.imported_files):
            # A library has imported a module of the program.
            return False
        return not self._observer.has_seen_effects and not any(name in sys.modules for name in PATCHING)

    def is_current(self) -> bool:
        importlib.invalidate_caches()
        imports = list(_Imports(self._module, self._beginnings))
        is_current = imports[: len(self._done)] == self._done and self._observer.is_unchanged()
        # Loading the program inserts them again.
        for folder in self._folders:
            sys.path.remove(folder)
        return is_current


class _Imports:
    """Iterates over the imports of installed modules with which a module of the program begins."""

    def __init__(self, name: str, beginnings: dict[str, _Beginning]) -> None:
        self._name = name
        self._beginnings = beginnings
        self._specs: dict[str, Optional[ModuleSpec]] = {}
        self._followed: set[str] = set()
        self._is_over = False

    def __iter__(self) -> Iterator[_Import]:
        # An installed program is code of the program as well.
        is_own = not is_installed(self._find(self._name.partition(".")[0]))
        return self._follow(self._name, ()) if is_own else iter(())

    def _follow(self, name: str, names: tuple[str, ...]) -> Iterator[_Import]:
        """Yields what an import statement imports, and sets ``_is_over`` at the first statement of another kind."""
        if is_installed(self._find(name.partition(".")[0])):
            yield _Import(name, names)
            return
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            yield from self._run(".".join(parts[:end]))
            if self._is_over:
                return
        spec = self._specs[name]
        if spec is None or spec.submodule_search_locations is None:
            return
        # A name of a package is one of its variables or a module of it. What may be both is not worth a guess.
        variables = self._beginnings[str(spec.origin)].names
        for attribute in names:
            module = f"{name}.{attribute}"
            if attribute not in variables:
                yield from self._run(module)
            else:
                self._is_over = self._find(module) is not None
            if self._is_over:
                return

    def _run(self, name: str) -> Iterator[_Import]:
        if name in self._followed:
            return
        self._followed.add(name)
        spec = self._find(name)
        beginning = self._beginning(spec)
        if spec is None or beginning is None:
            self._is_over = True
            return
        for module, level, names in beginning.imports:
            if level > 0:
                try:
                    module = importlib.util.resolve_name("." * level + module, spec.parent)
                except ImportError:
                    self._is_over = True
                    return
            yield from self._follow(module, names)
            if self._is_over:
                return
        self._is_over = not beginning.is_whole

    def _find(self, name: str) -> Optional[ModuleSpec]:
        if name not in self._specs:
            parent, _, _ = name.rpartition(".")
            if parent:
                package = self._find(parent)
                path = None if package is None else package.submodule_search_locations
                self._specs[name] = None if path is None else PathFinder.find_spec(name, path)
            else:
                finders = (BuiltinImporter, FrozenImporter, PathFinder)
                found = (finder.find_spec(name) for finder in finders)
                self._specs[name] = next((spec for spec in found if spec is not None), None)
        return self._specs[name]

    def _beginning(self, spec: Optional[ModuleSpec]) -> Optional[_Beginning]:
        """Returns the beginning of a module of the program; ``None`` if it is not a source file that can be parsed."""
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return None
        try:
            with open(spec.origin, "rb") as file:
                source = file.read()
            known = self._beginnings.get(spec.origin)
            if known is None or not source.startswith(known.source):
                known = self._beginnings[spec.origin] = _parse(source)
        except (OSError, SyntaxError, ValueError):
            return None
        return known


def is_installed(spec: Optional[ModuleSpec]) -> bool:
    """Whether a top-level module belongs to the interpreter or to an installed package, not to the program."""
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    if spec.origin is None:
        # A folder without ``__init__.py``, to which the program may contribute.
        return False
    return _is_in_package(os.path.realpath(spec.origin))


def _is_in_package(path: str) -> bool:
    """Whether a path belongs to the standard library or to an installed package."""
    library = os.path.dirname(os.path.realpath(os.__file__))
    path = os.path.join(path, "")
    return path.startswith(os.path.join(library, "")) or any(os.sep + packages in path for packages in PACKAGES)


def _parse(source: bytes) -> _Beginning:
    imports: list[tuple[str, int, tuple[str, ...]]] = []
    names: set[str] = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                imports.append((alias.name, 0, ()))
                names.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*":
            if statement.module != "__future__":
                wanted = tuple(alias.name for alias in statement.names)
                imports.append((statement.module or "", statement.level, wanted))
            if statement.module:
                names.update(alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign) and _is_plain(statement.targets) and _is_literal(statement.value):
            names.update(target.id for target in statement.targets if isinstance(target, ast.Name))
        elif not (_is_constant(statement) or _is_for_type_checkers(statement, imports)):
            # The whole line, since the next version of the file may continue it.
            lines = source.splitlines(keepends=True)[: statement.lineno]
            return _Beginning(tuple(imports), frozenset(names), False, b"".join(lines))
    return _Beginning(tuple(imports), frozenset(names), True, source)


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_for_type_checkers(statement: ast.stmt, imports: list[tuple[str, int, tuple[str, ...]]]) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``, whose body never runs."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = ast.unparse(statement.test)
    if test == "typing.TYPE_CHECKING":
        return ("typing", 0, ()) in imports
    return test == "TYPE_CHECKING" and any(
        module == "typing" and level == 0 and "TYPE_CHECKING" in names for module, level, names in imports
    )


def _is_plain(targets: list[ast.expr]) -> bool:
    return all(isinstance(target, ast.Name) for target in targets)


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


class _Observer:
    """Observes what imports do, by the interpreter's audit events (PEP 578).

    Sockets and other open files, threads, processes and files that are written must not exist twice, nor before the
    program asks for them.
    What was read must not change before the program runs.
    """

    #: Events that begin so must not happen. A socket may be made to find out whether the system has IPv6, as long as it
    #: is closed again.
    FORBIDDEN = (
        "socket.connect",
        "socket.get",
        "socket.send",
        "subprocess.",
        "sqlite3.connect",
        "_thread.start",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
    )
    #: Events that begin as a forbidden one and only ask for the name of this machine.
    HARMLESS = ("socket.gethostname",)
    #: Events that change files; the first argument is the path.
    CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
    #: Events that list a folder.
    LISTS = ("os.listdir", "os.scandir")
    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def __init__(self) -> None:
        self.has_seen_effects = False
        #: The files of the modules that were imported.
        self.imported_files: set[str] = set()
        self._modules: set[str] = set()
        self._is_observing = False
        self._began = 0
        self._threads = 0
        self._descriptors = 0
        self._paths: set[Union[str, bytes]] = set()
        self._states: dict[Union[str, bytes], Optional[tuple[int, ...]]] = {}
        self._origins: dict[str, Optional[str]] = {}

    def __enter__(self) -> None:
        self._modules = set(sys.modules)
        self._began = time.time_ns()
        # CPython has no event for new threads before 3.12.
        self._threads = _thread._count()
        self._descriptors = len(os.listdir("/dev/fd"))
        self._is_observing = True
        # Can't be removed.
        sys.addaudithook(self._hook)

    def __exit__(self, *_: object) -> None:
        self._is_observing = False
        self.has_seen_effects |= _thread._count() > self._threads or len(os.listdir("/dev/fd")) > self._descriptors
        modules = list(sys.modules.items())
        files = {name: getattr(module, "__file__", None) for name, module in modules}
        self._paths.update(file for file in files.values() if isinstance(file, str))
        new = (file for name, file in files.items() if name not in self._modules)
        self.imported_files = {file for file in new if isinstance(file, str)}
        self._states = {path: _state(path) for path in self._paths}
        # A file that has changed meanwhile may have changed after it was read.
        last = self._began - _TICK
        self.has_seen_effects |= any(state is not None and max(state[2:]) > last for state in self._states.values())
        # Of the modules without a file, some are found in another way, and all are safe from the program's own.
        names = (name for name, module in modules if "." not in name and getattr(module, "__file__", None))
        self._origins = {name: _origin(name) for name in names}

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_observing:
            return
        path: Any = arguments[0] if arguments else None
        if event == "open":
            if isinstance(path, int):
                return
            if arguments[2] & self.WRITES:
                self.has_seen_effects |= not _is_cache(path)
            else:
                self._paths.add(path)
        elif event in self.LISTS:
            # The program's own folders are listed when a module is searched, and change with each save.
            if isinstance(path, (str, bytes)) and _is_in_package(os.path.realpath(os.fsdecode(path))):
                self._paths.add(path)
        elif event in self.CHANGES:
            self.has_seen_effects |= not _is_cache(path)
        elif event.startswith(self.FORBIDDEN) and event not in self.HARMLESS:
            self.has_seen_effects = True

    def is_unchanged(self) -> bool:
        """Whether all files are as they were read, and each module would be found in the same place.

        A few modules are found in none, since a package has registered them.
        """
        if any(_state(path) != state for path, state in self._states.items()):
            return False
        return all(_origin(name) == origin for name, origin in self._origins.items())


def _origin(name: str) -> Optional[str]:
    spec = PathFinder.find_spec(name)
    return None if spec is None else spec.origin


def _is_cache(path: Any) -> bool:
    """Whether a path is that of a compiled module, which the interpreter keeps."""
    return f"{os.sep}__pycache__" in os.fsdecode(path)


#: The resolution of the time stamps of files, in nanoseconds: several ticks of the clock that file systems use.
_TICK = 20_000_000


def _state(path: Union[str, bytes]) -> Optional[tuple[int, ...]]:
    """Returns numbers that change with the file; ``None`` if there is no file. The last two are times in nanoseconds."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_spare: Optional[_Spare] = None
