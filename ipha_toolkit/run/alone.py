"""Whether worker processes can be started from here, known before one is: a started worker only says that it died."""

from __future__ import annotations

import ast
import pickle
import sys
from pathlib import Path
from types import ModuleType


def why_alone(*sent: object, main: ModuleType | None = None) -> str:
    """Why this process has to work alone, empty where worker processes can help.

    A worker is a new Python that imports the script it was started from, and gets functions by their name. So the
    script has to be a file that does nothing when it is imported, and the functions have to be in a file.

    Parameters
    ----------
    *sent : object
        What workers would be given: the segmenter.
    main : module, optional
        The script; by default that of this process.
    """
    main = sys.modules["__main__"] if main is None else main
    file = getattr(main, "__file__", None)
    if file is not None and not Path(file).is_file():
        return f"worker processes cannot import {file}: save the script as a file and run that"
    if file is not None and not _is_guarded(Path(file)):
        return (
            f"worker processes import {file} and would run all of it again: put what it does below "
            "if __name__ == '__main__':"
        )
    for each in sent:
        name = getattr(each, "__qualname__", type(each).__name__)
        if file is None and getattr(each, "__module__", "") == "__main__":
            return f"worker processes cannot import {name} from a notebook or prompt: put it into a module file"
        try:
            pickle.dumps(each)
        except Exception as error:  # objects raise whatever they like
            return f"{name} cannot be sent to worker processes ({error}): make it a function of a module file"
    return ""


def _is_guarded(script: Path) -> bool:
    """Whether a script looks at its ``__name__`` before it does anything, or cannot be looked at."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True  # a program without source, as a console script packed into one file
    tests = [node.test for node in tree.body if isinstance(node, ast.If)]
    return any(isinstance(name, ast.Name) and name.id == "__name__" for test in tests for name in ast.walk(test))
