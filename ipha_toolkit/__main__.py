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


def is_somewhere() -> bool:
    """Whether the folder that this runs in is there; libraries ask for it while they are imported."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        os.write(2, b"ipha: the folder that this was started in is gone; go to another with cd and start it again\n")
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; Ctrl-C while its parts are imported ends it with a line, as later."""
    open_streams()
    if not is_somewhere():
        return 2
    try:
        from ipha_toolkit.cli import main as command
    except KeyboardInterrupt:
        os.write(2, b"\nipha: stopped before anything was done\n")
        return 130
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
