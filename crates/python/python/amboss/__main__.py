"""The command ``amboss``: see ``amboss --help``."""

import sys

from . import _amboss, _early, _signals


def main() -> int:
    """Runs the command line."""
    _early.serves()
    _signals.note_until_served()
    return _amboss.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
