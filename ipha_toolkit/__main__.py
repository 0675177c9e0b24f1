"""``python -m ipha_toolkit``, and the ``ipha`` command: heard from their first moment on."""

import os
import sys
from collections.abc import Sequence


def open_streams() -> None:
    """Open those of the three standard streams that whoever started this had closed: files would take their places."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; Ctrl-C while its parts are imported ends it with a line, as later."""
    open_streams()
    try:
        from ipha_toolkit.cli import main as command
    except KeyboardInterrupt:
        os.write(2, b"\nipha: stopped before anything was done\n")
        return 130
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
