"""``python -m ipha_toolkit`` is the ``ipha`` command."""

from ipha_toolkit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
