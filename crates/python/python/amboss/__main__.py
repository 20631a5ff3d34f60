"""The command ``amboss``: see ``amboss --help``."""

import sys

from . import _amboss, _signals, _startup_report


def main() -> int:
    """Runs the command line."""
    _startup_report.disable()
    _signals.defer_until_installed()
    code, guest = _amboss.main(sys.argv[1:])
    if guest is not None:
        from . import _greenlets

        _greenlets.serve(_greenlets.Driver(guest), exits=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
