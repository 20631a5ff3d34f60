"""Which files a program consists of: those that a reload depends on."""

import importlib.machinery
import os
import re
import sys
from typing import Dict, Iterator, List, Set

#: Folders of packages in the library's.
PACKAGES = (f"site-packages{os.sep}", f"dist-packages{os.sep}")


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

    def new_files(self) -> List[str]:
        """The modules that came since the last call."""
        found = []
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
    parts = os.path.join(*name.split("."))
    outside = ("site-packages", "dist-packages", os.path.dirname(os.__file__))
    for folder in sys.path:
        folder = os.path.abspath(folder)
        if os.path.isdir(folder) and not folder.startswith(outside[2]) and not folder.endswith(outside[:2]):
            for suffix in importlib.machinery.SOURCE_SUFFIXES:
                yield os.path.join(folder, parts + suffix)
                yield os.path.join(folder, parts, "__init__" + suffix)
