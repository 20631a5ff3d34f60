"""Reports to the reloader which files a script consists of, if the script fails before it serves.

Once the script serves, the server reports them, see ``_modules.py``.
"""

import atexit
import os
import sys

_is_serving = False


def install() -> None:
    """Installs the report at exit, if a reloader has started this process. Called as early as possible."""
    # A process that this one starts inherits the environment, but not the descriptors that it names.
    supervisor = os.environ.get("AMBOSS_CHILD_SUPERVISOR", "").split(" ")[0]
    if os.environ.get("AMBOSS_CHILD_RELOADING") and os.environ.get("AMBOSS_CONTROL_FD") and supervisor == str(os.getppid()):
        atexit.register(_report)
        from ._modules import record_imports

        record_imports()


def disable() -> None:
    """Disables the report: from now on the server reports."""
    global _is_serving
    _is_serving = True


def _report() -> None:
    if _is_serving:
        return
    from ._modules import ModuleReporter

    reporter = ModuleReporter()
    files = reporter.new_files()
    error = getattr(sys, "last_value", None)
    if error is not None:
        files += reporter.files_of_error(error)
    from ._amboss import report_files

    try:
        report_files(sorted(set(files)))
    except OSError:
        pass  # The supervisor has exited, or the descriptor has been closed or reused.
