"""Modules stay short enough to be read, and functions callable without a manual."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "ipha_toolkit").rglob("*.py"))
MOST_LINES, MOST_PARAMETERS = 400, 8
SIMULATORS = {"phantom/subject.py:simulate_subject", "phantom/physics.py:acquire_mr", "phantom/dicom.py:slices"}
"""Whose many options are what a simulation is about."""


def code_lines(source):
    """Lines that are neither blank nor comment nor docstring."""
    said = set()
    for node in ast.walk(ast.parse(source)):
        for inner in getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else ():
            if (
                isinstance(inner, ast.Expr)
                and isinstance(inner.value, ast.Constant)
                and isinstance(inner.value.value, str)
            ):
                said |= set(range(inner.lineno, inner.end_lineno + 1))
    lines = enumerate(source.split("\n"), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in said for n, line in lines)


def parameters(function):
    """How many a caller sees, ``*args`` and ``**options`` being one each."""
    given = function.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + (given.vararg is not None) + (given.kwarg is not None)


def public_functions(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
            yield node


def test_lines_of_code_are_counted_without_what_is_said_of_them():
    assert (
        code_lines('"""Of two\nlines."""\n\n# why\na = 1\n\n\ndef f():\n    """Word."""\n    return a  # here\n') == 3
    )


def test_parameters_are_counted_as_a_caller_sees_them():
    source = "class A:\n    def f(self, a, *b, c, **d): ...\n    def _g(self, a, b): ...\n"
    assert [(each.name, parameters(each)) for each in public_functions(source)] == [("f", 4)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_has_more_than_400_lines_of_code(path):
    assert code_lines(path.read_text("utf-8")) <= MOST_LINES, "move one topic of it to a module of its own"


def test_no_public_function_has_more_than_8_parameters_but_simulators():
    many = {
        f"{path.relative_to(ROOT / 'ipha_toolkit').as_posix()}:{each.name}"
        for path in MODULES
        for each in public_functions(path.read_text("utf-8"))
        if parameters(each) > MOST_PARAMETERS
    }
    assert many == SIMULATORS, "gather in a dataclass what belongs together"
