"""``python -m ipha_toolkit``, and the ``ipha`` command: heard from their first moment on."""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; Ctrl-C while its parts are imported ends it with a line, as later."""
    try:
        from ipha_toolkit.io.terminal import is_somewhere, open_streams

        open_streams()
        if not is_somewhere():
            return 2
        from ipha_toolkit.cli import main as command
    except KeyboardInterrupt:
        os.write(2, b"\nipha: stopped before anything was done\n")
        return 130
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
