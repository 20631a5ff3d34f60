"""Which files a program consists of: those that a reload depends on."""

import importlib.machinery
import os
import re
import sys
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set

#: Folders of packages in the library's.
PACKAGES = (f"site-packages{os.sep}", f"dist-packages{os.sep}")


#: Modules that were looked for since the last report, found or not, and in which folders: those of the module search path
#: by default.
looked_for: Dict[str, Optional[List[str]]] = {}


class _Noting:
    """Notes which modules are looked for; finds none itself.

    A module whose import has failed is nowhere else: it is not in ``sys.modules``, and the application may have handled
    the exception.
    """

    def find_spec(self, name: str, path: Optional[Sequence[str]] = None, target: Any = None) -> None:
        looked_for[name] = None if path is None else [str(folder) for folder in path]


def note_imports() -> None:
    """Notes from now on which modules are looked for."""
    if not any(isinstance(finder, _Noting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Noting())


class Reporter:
    """Knows which files were told already."""

    def __init__(self) -> None:
        # As ``sysconfig`` says it, which takes a millisecond to be imported: a new process has no time to lose.
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        folders = [os.path.dirname(os.__file__), os.path.join(sys.base_exec_prefix, sys.platlibdir, version)]
        self._library = tuple({os.path.join(os.path.realpath(folder), "") for folder in folders})
        self._own = os.path.realpath(os.path.dirname(__file__))
        self._real: Dict[str, str] = {}
        self._told: Set[str] = set()
        self._is_first = True

    def new_files(self) -> List[str]:
        """The modules that came since the last call, and those that could not be imported."""
        found = self._failed()
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self._told:
                continue
            self._told.add(path)
            folder, name = os.path.split(os.path.abspath(path))
            # Hundreds of modules lie in few folders, and each part of a path costs a system call.
            real = self._real.get(folder)
            if real is None:
                real = self._real[folder] = os.path.realpath(folder)
            if real == self._own or self._is_of_the_interpreter(real):
                continue
            path = os.path.join(real, name)
            found.append(os.path.realpath(path) if os.path.islink(path) else path)
        return found

    def _failed(self) -> List[str]:
        """Where the modules lie, or would lie, that were looked for in vain, or failed while they were imported."""
        is_first, self._is_first = self._is_first, False
        found = []
        while looked_for:
            name, folders = looked_for.popitem()
            if name in sys.modules:
                continue
            paths = _candidates(name) if folders is None else _in_folders(folders, name.rpartition(".")[2])
            # Programs try many modules when they start that need not be there.
            for path in paths:
                if path not in self._told and (not is_first or os.path.exists(path)):
                    self._told.add(path)
                    found.append(os.path.realpath(path))
        return found

    def _is_of_the_interpreter(self, folder: str) -> bool:
        """What belongs to the interpreter changes with it. Packages stay: they may be worked on, too."""
        folder = os.path.join(folder, "")
        for library in self._library:
            if folder.startswith(library):
                return not folder[len(library) :].startswith(PACKAGES)
        return False

    def files_of(self, error: BaseException) -> List[str]:
        """The files that an exception has to do with, also those that were missing."""
        return sorted({os.path.realpath(path) for path in _involved(error)})


def _involved(error: BaseException) -> Iterator[str]:
    seen: Set[int] = set()
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
            # "from package import module"; before 3.12 only the message has the second name.
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
    """Where a module of this name would be found in the program's own folders."""
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
