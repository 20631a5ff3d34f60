"""Determines which files a program consists of, so that the reloader can watch them."""

import importlib.machinery
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

#: Directories for installed packages inside the standard library's directory.
PACKAGES = (f"site-packages{os.sep}", f"dist-packages{os.sep}")

#: Modules for which an import was attempted since the last report, found or not, with the directories that were
#: searched;
#: ``None`` stands for ``sys.path``.
searched: dict[str, Optional[list[str]]] = {}


class _ImportRecorder:
    """A meta path finder that records which modules are imported, and finds none itself.

    Modules whose import fails are recorded nowhere else: they are not in ``sys.modules``, and the application may have
    handled the exception.
    """

    def find_spec(self, name: str, path: Optional[Sequence[str]] = None, target: Any = None) -> None:
        searched[name] = None if path is None else [str(folder) for folder in path]


def record_imports() -> None:
    """Starts to record imports in :data:`searched`."""
    if not any(isinstance(finder, _ImportRecorder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ImportRecorder())


def library_folders() -> tuple[str, ...]:
    """Returns the directories of the standard library, without symbolic links and with a separator at the end."""
    # ``sysconfig`` knows these paths as well, but takes a millisecond to import, which delays every new process.
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folders = [os.path.dirname(os.__file__), os.path.join(sys.base_exec_prefix, sys.platlibdir, version)]
    return tuple({os.path.join(os.path.realpath(folder), "") for folder in folders})


class ModuleReporter:
    """Lists the files of imported modules, each of them once."""

    def __init__(self) -> None:
        self._library = library_folders()
        self._own = os.path.realpath(os.path.dirname(__file__))
        self._real: dict[str, str] = {}
        self._reported: set[str] = set()
        self._is_first = True

    def new_files(self) -> list[str]:
        """Returns the files of the modules that were imported, or could not be imported, since the last call."""
        found = self._failed_imports()
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self._reported:
                continue
            self._reported.add(path)
            folder, name = os.path.split(os.path.abspath(path))
            # Hundreds of modules are in a few directories, and ``realpath`` makes a system call for each part of a
            # path.
            real = self._real.get(folder)
            if real is None:
                real = self._real[folder] = os.path.realpath(folder)
            if real == self._own or self._is_in_library(real):
                continue
            path = os.path.join(real, name)
            found.append(os.path.realpath(path) if os.path.islink(path) else path)
        return found

    def _failed_imports(self) -> list[str]:
        """Returns where the modules whose import has failed are, or would be if they existed."""
        is_first, self._is_first = self._is_first, False
        found = []
        while searched:
            name, folders = searched.popitem()
            if name in sys.modules:
                continue
            paths = _candidates(name) if folders is None else _in_folders(folders, name.rpartition(".")[2])
            # At the start, programs try to import many optional modules; those that don't exist are not watched.
            for path in paths:
                if path not in self._reported and (not is_first or os.path.exists(path)):
                    self._reported.add(path)
                    found.append(os.path.realpath(path))
        return found

    def _is_in_library(self, folder: str) -> bool:
        """Whether a directory belongs to the standard library. Installed packages do not: users may be editing them."""
        folder = os.path.join(folder, "")
        for library in self._library:
            if folder.startswith(library):
                return not folder[len(library) :].startswith(PACKAGES)
        return False

    def files_of_error(self, error: BaseException) -> list[str]:
        """Returns the files that an exception involves, including files that are missing."""
        return sorted({os.path.realpath(path) for path in _involved(error)})


def _involved(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        pending += [cause for cause in (error.__cause__, error.__context__) if cause is not None]
        if isinstance(error, SyntaxError) and error.filename and os.path.isabs(error.filename):
            yield error.filename
        if isinstance(error, OSError) and isinstance(error.filename, (str, bytes)):
            yield os.path.abspath(os.fsdecode(error.filename))
        if isinstance(error, ImportError) and error.name:
            yield from _candidates(error.name)
            # "from package import module"; before 3.12 only the message contains the second name.
            missing = re.match(r"cannot import name '(\w+)'", str(error))
            if missing:
                yield from _candidates(f"{error.name}.{missing.group(1)}")
        traceback = error.__traceback__
        while traceback is not None:
            path = traceback.tb_frame.f_code.co_filename
            if os.path.isabs(path) and os.path.exists(path):
                yield path
            traceback = traceback.tb_next


def _candidates(name: str) -> Iterator[str]:
    """Yields the paths that a module of this name could have in the program's own directories."""
    return _in_folders(sys.path, os.path.join(*name.split(".")))


def _in_folders(folders: Iterable[str], parts: str) -> Iterator[str]:
    library = os.path.dirname(os.__file__)
    for folder in folders:
        folder = os.path.abspath(folder)
        is_installed = any(packages in os.path.join(folder, "") for packages in PACKAGES)
        if os.path.isdir(folder) and not folder.startswith(library) and not is_installed:
            for suffix in importlib.machinery.SOURCE_SUFFIXES:
                yield os.path.join(folder, parts + suffix)
                yield os.path.join(folder, parts, "__init__" + suffix)
