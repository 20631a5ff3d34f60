"""The command ``amboss``: see ``amboss --help``."""

import sys

from . import _amboss, _early


def main() -> int:
    """Runs the command line."""
    _early.serves()
    return _amboss.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
