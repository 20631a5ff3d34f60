"""The command ``amboss``: see ``amboss --help``."""

import sys

from . import _amboss, _signals, _startup_report


def main() -> int:
    """Runs the command line."""
    _startup_report.disable()
    _signals.defer_until_installed()
    return _amboss.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
