"""Prepares a spare worker: an interpreter that has imported the program's libraries, and waits for the next reload.

A spare does ahead of time exactly what a new worker would do first: the imports of installed modules at the top of the
program's own modules, in their order, before any other statement of the program. So it is in the same state as a new
worker at that point, whatever the program does afterwards. It runs no code of the program.

It gives up, and a new worker is started as usual, if one of these imports does something that must not happen ahead of
time (see :class:`_Observer`), if anything that was read has changed since, or if the program begins differently by now.
"""

import _thread
import ast
import contextlib
import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.machinery import (
    BuiltinImporter,
    FileFinder,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from typing import Any, NamedTuple, Optional, Union

from ._amboss import observe
from ._child_environment import sockets_adopted
from ._loader import locate
from ._modules import PACKAGES, library_folders

#: Libraries that replace parts of the standard library: a program with one of them begins by doing so.
PATCHING = ("gevent", "eventlet")


class _Import:
    """An import statement of a module of the program, with absolute names: ``from module import names``, or
    ``import module`` without names."""

    def __init__(self, module: str, names: tuple[str, ...], importer: ModuleSpec, line: int) -> None:
        self.module = module
        self.names = names
        self._importer = importer
        self._line = line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Import) and (self.module, self.names) == (other.module, other.names)

    def __hash__(self) -> int:
        return hash((self.module, self.names))

    def run(self) -> None:
        """Runs the statement, as if it stood in a module of that name, file and line: a warning may name them."""
        text = f"from {self.module} import {', '.join(self.names)}" if self.names else f"import {self.module}"
        code = compile("\n" * (self._line - 1) + text, str(self._importer.origin), "exec")
        exec(code, {"__name__": self._importer.name, "__package__": self._importer.parent})


class _Statement(NamedTuple):
    """An import statement as it is written."""

    module: str
    level: int
    names: tuple[str, ...]
    line: int


class _Beginning(NamedTuple):
    """The import statements at the top of a source file."""

    imports: tuple[_Statement, ...]
    #: The names that the statements assign, except for those of modules of the same package.
    names: frozenset[str]
    #: Whether the file has no other statements.
    is_whole: bool
    #: The source, up to the first line of the first other statement.
    source: bytes

    def is_of(self, source: bytes) -> bool:
        """Whether a source begins in this way."""
        return source == self.source if self.is_whole else source.startswith(self.source)


def prepare(target: str, server_fd: Optional[int]) -> bool:
    """Imports the libraries with which the program begins.

    :param target: as for :func:`amboss._loader.load_app`
    :param server_fd: the descriptor of the first listening socket
    :returns: whether the interpreter may wait now; if not, it has to end, as it has to if a library can't be imported
    """
    global _spare
    # As before a program is loaded: libraries may keep a copy of the environment.
    sockets_adopted(server_fd)
    spare = _Spare(target)
    if not spare.prepare():
        return False
    _spare = spare
    return True


def start(generation: int) -> bool:
    """Makes this interpreter a worker of a generation, if a worker that is started now would be in the same state.

    :returns: whether it is; if not, the interpreter has to end
    """
    os.environ["AMBOSS_GENERATION"] = str(generation)
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
        program = _Imports(self._module, self._beginnings)
        imports = list(program)
        if any(statement.module.partition(".")[0] in PATCHING for statement in imports):
            return False
        path, directory = sys.path[:], os.getcwd()
        with self._observer:
            for statement in imports:
                statement.run()
        self._done = imports
        if self._observer.has_seen_effects or any(name in sys.modules for name in PATCHING):
            return False
        if sys.path != path or os.getcwd() != directory:
            # The program would be loaded from elsewhere.
            return False
        # A library may have imported a module of the program, or put something in its place.
        are_installed = all(map(_is_in_package, self._observer.imported_files))
        return are_installed and sys.modules.keys().isdisjoint(program.followed)

    def is_current(self) -> bool:
        # Not ``importlib.invalidate_caches``, which imports more than an application may ever need.
        for finder in list(sys.path_importer_cache.values()):
            if isinstance(finder, FileFinder):
                finder.invalidate_caches()
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
        #: The modules of the program that were looked at.
        self.followed: set[str] = set()
        self._is_over = False

    def __iter__(self) -> Iterator[_Import]:
        # An installed program is code of the program as well.
        is_own = not _is_installed(self._find(self._name.partition(".")[0]))
        return self._follow(self._name, ()) if is_own else iter(())

    def _follow(
        self, name: str, names: tuple[str, ...], importer: Optional[ModuleSpec] = None, line: int = 0
    ) -> Iterator[_Import]:
        """Yields what an import statement imports, and sets ``_is_over`` at the first statement of another kind."""
        if importer is not None and _is_installed(self._find(name.partition(".")[0])):
            yield _Import(name, names, importer, line)
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
        if name in self.followed:
            return
        self.followed.add(name)
        spec = self._find(name)
        beginning = self._beginning(spec)
        if spec is None or beginning is None:
            self._is_over = True
            return
        for module, level, names, line in beginning.imports:
            if level > 0:
                try:
                    module = importlib.util.resolve_name("." * level + module, spec.parent)
                except ImportError:
                    self._is_over = True
                    return
            yield from self._follow(module, names, spec, line)
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
            if known is None or not known.is_of(source):
                known = self._beginnings[spec.origin] = _parse(source, spec.origin)
        except (OSError, SyntaxError, ValueError):
            return None
        return known


def _is_installed(spec: Optional[ModuleSpec]) -> bool:
    """Whether a top-level module belongs to the interpreter or to an installed package, not to the program."""
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    if spec.origin is None:
        # A folder without ``__init__.py``, to which the program may contribute.
        return False
    return _is_in_package(spec.origin)


_LIBRARY = library_folders()


def _is_in_package(path: Union[str, bytes]) -> bool:
    """Whether a path belongs to the standard library or to an installed package."""
    path = os.path.join(os.path.realpath(os.fsdecode(path)), "")
    return path.startswith(_LIBRARY) or any(os.sep + packages in path for packages in PACKAGES)


def _parse(source: bytes, path: str) -> _Beginning:
    imports: list[_Statement] = []
    names: set[str] = set()
    assigned: set[str] = set()
    with warnings.catch_warnings():
        # They are shown when the program is compiled.
        warnings.simplefilter("ignore")
        body = ast.parse(source, path).body
    for statement in body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                imports.append(_Statement(alias.name, 0, (), statement.lineno))
                names.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*":
            if statement.module != "__future__":
                wanted = tuple(alias.name for alias in statement.names)
                imports.append(_Statement(statement.module or "", statement.level, wanted, statement.lineno))
            # ``from . import name`` assigns a module of the same package, and often imports it.
            own = statement.module is None and statement.level == 1
            names.update(alias.asname or alias.name for alias in statement.names if alias.asname or not own)
        elif isinstance(statement, ast.Assign) and _is_plain(statement.targets) and _is_literal(statement.value):
            assigned.update(target.id for target in statement.targets if isinstance(target, ast.Name))
        elif not (_is_constant(statement) or _is_for_type_checkers(statement, imports, assigned)):
            # The whole line, since the next version of the file may continue it.
            lines = source.splitlines(keepends=True)[: statement.lineno]
            return _Beginning(tuple(imports), frozenset(names | assigned), False, b"".join(lines))
    return _Beginning(tuple(imports), frozenset(names | assigned), True, source)


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_for_type_checkers(statement: ast.stmt, imports: list[_Statement], assigned: set[str]) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``, whose body never runs."""
    if not isinstance(statement, ast.If) or statement.orelse or not assigned.isdisjoint(("TYPE_CHECKING", "typing")):
        return False
    test = ast.unparse(statement.test)
    from_typing = [one.names for one in imports if one.module == "typing" and one.level == 0]
    if test == "typing.TYPE_CHECKING":
        return () in from_typing
    return test == "TYPE_CHECKING" and any("TYPE_CHECKING" in names for names in from_typing)


#: Names between double underscores that have no meaning for the import system.
_HARMLESS = ("__all__", "__author__", "__copyright__", "__license__", "__version__")


def _is_plain(targets: list[ast.expr]) -> bool:
    return all(
        isinstance(target, ast.Name) and (not target.id.startswith("__") or target.id in _HARMLESS)
        for target in targets
    )


def _is_literal(value: ast.expr) -> bool:
    if any(isinstance(node, ast.Call) for node in ast.walk(value)):
        return False
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


class _Effect(Exception):
    """An import does something that must not happen ahead of time. It is raised before that happens."""


class _Observer:
    """Observes what imports do, by the interpreter's audit events (PEP 578).

    Sockets and other open files, threads, processes and files that are written must not exist twice, nor before the
    program asks for them. What was read must not change before the program runs.
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
    CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")
    #: Events that list a folder.
    LISTS = ("os.listdir", "os.scandir")
    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def __init__(self) -> None:
        self.has_seen_effects = False
        #: The files of the modules that were imported.
        self.imported_files: set[str] = set()
        self._modules: set[str] = set()
        self._began = 0
        self._threads = 0
        self._descriptors = 0
        self._paths: set[Union[str, bytes]] = set()
        self._states: dict[Union[str, bytes], Optional[tuple[int, ...]]] = {}
        #: The modules that were searched, found or not.
        self._searched: set[str] = set()
        self._places: dict[str, object] = {}

    def __enter__(self) -> None:
        self._modules = set(sys.modules)
        self._began = time.time_ns()
        # CPython has no event for new threads before 3.12.
        self._threads = _thread._count()
        self._descriptors = len(os.listdir("/dev/fd"))
        observe(self._hook)

    def __exit__(self, *_: object) -> None:
        observe(None)
        self.has_seen_effects |= _thread._count() > self._threads or len(os.listdir("/dev/fd")) > self._descriptors
        files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
        self._paths.update(file for file in files.values() if isinstance(file, str))
        new = (file for name, file in files.items() if name not in self._modules)
        self.imported_files = {file for file in new if isinstance(file, str)}
        # A package that is installed or removed changes its folder.
        self._paths.update(folder for folder in sys.path if _is_in_package(folder))
        self._states = {path: _state(path) for path in self._paths}
        # A file that has changed meanwhile may have changed after it was read.
        last = self._began - _TICK
        self.has_seen_effects |= any(state is not None and max(state[2:]) > last for state in self._states.values())
        names = {name for name in files if "." not in name} | {name for name in self._searched if name not in files}
        self._places = {name: _place(name) for name in names}

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        path: Any = arguments[0] if arguments else None
        is_effect = False
        if event == "import":
            self._searched.add(path)
        elif event == "open":
            if isinstance(path, int):
                return
            if arguments[2] & self.WRITES:
                is_effect = not _is_cache(path)
            else:
                self._read(path)
        elif event in self.LISTS:
            # The import system lists the program's own folders, too, which change with each save.
            if not isinstance(path, (str, bytes)):
                return
            by_import = sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
            if not by_import or _is_in_package(path):
                self._paths.add(path)
        elif event in self.CHANGES:
            is_effect = not _is_cache(path)
        else:
            is_effect = event.startswith(self.FORBIDDEN) and event not in self.HARMLESS
        if is_effect:
            self.has_seen_effects = True
            raise _Effect(event)

    def _read(self, path: Union[str, bytes]) -> None:
        self._paths.add(path)
        if _is_cache(path):
            # The source of the compiled module.
            with contextlib.suppress(ValueError):
                self._paths.add(importlib.util.source_from_cache(os.fsdecode(path)))

    def is_unchanged(self) -> bool:
        """Whether all files are as they were read, and each module would be found where it was, or still nowhere."""
        if any(_state(path) != state for path, state in self._states.items()):
            return False
        return all(_place(name) == place for name, place in self._places.items())


def _place(name: str) -> object:
    """Returns where a module would be found: its file, or its folders if it has none; ``None`` if it would not be."""
    parent, _, _ = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        return None
    return spec.origin or list(spec.submodule_search_locations or ())


def _is_cache(path: Any) -> bool:
    """Whether a path is that of a compiled module, which the interpreter keeps."""
    return f"{os.sep}__pycache__" in os.fsdecode(path)


#: The resolution of the time stamps of files, in nanoseconds: several ticks of the clock that file systems use.
_TICK = 20_000_000


def _state(path: Union[str, bytes]) -> Optional[tuple[int, ...]]:
    """Returns numbers that change with the file, the last two of them times in nanoseconds; ``None`` without a file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_spare: Optional[_Spare] = None
