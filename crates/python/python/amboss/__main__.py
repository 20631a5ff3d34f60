"""The command ``amboss``: see ``amboss --help``."""

import sys

from . import _amboss, _startup_report, _signals


def main() -> int:
    """Runs the command line."""
    _startup_report.serves()
    _signals.note_until_served()
    return _amboss.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
