"""Nothing in the package runs what it reads: no code from files, no shell, no pickled data of others."""

import ast
import re
from pathlib import Path

import pytest

import ipha_toolkit

PACKAGE = Path(ipha_toolkit.__file__).parent
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load",
    "yaml.unsafe_load", "tempfile.mktemp", "np.fromregex", "runpy.run_path", "runpy.run_module",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(path for path in PACKAGE.rglob("*.js") if path.name != "reveal.js")


def dotted(node):
    """``os.system`` of a call's function, empty for anything computed."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield dotted(node.func), {word.arg: word.value for word in node.keywords}, node.lineno


def test_no_module_runs_what_it_reads():
    found = []
    for path in MODULES:
        for name, words, line in calls(path):
            shell = any(getattr(words.get(word), "value", None) is True for word in ("shell", "allow_pickle"))
            if name in FORBIDDEN or shell:
                found.append(f"{path.relative_to(PACKAGE)}:{line}: {name}")
    assert not found


def test_the_search_finds_what_it_looks_for(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os, pickle\nos.system('x')\npickle.load(f)\nrun('x', shell=True)\neval('1')\n"
    )
    found = list(calls(tmp_path / "a.py"))
    assert {name for name, _, _ in found} >= {"os.system", "pickle.load", "eval"}
    assert any(getattr(words.get("shell"), "value", None) is True for _, words, _ in found)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_runs_text(path):
    text = path.read_text("utf-8")
    assert not re.search(r"\beval\s*\(|new\s+Function\s*\(|document\.write|set(?:Timeout|Interval)\s*\(\s*[\"'`]", text)
    assert not re.search(r"\bimport\s*\(\s*[\"'`]https?:", text)
