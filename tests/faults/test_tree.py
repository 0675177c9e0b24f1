"""Nothing in the tree runs what it reads, notebooks and scripts included: no shell, no pickled data of others."""

import ast
import json
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
ROOT = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("benchmarks", "tools", "packaging", "docs")
OTHERS = [ROOT / "hatch_build.py", *(path for place in FOLDERS for path in sorted((ROOT / place).rglob("*.py")))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHER_SHELLS = {"shtab.complete"}
"""Functions whose ``shell`` is the name of one."""
OWN_PICKLES = {"benchmarks/phases.py", "benchmarks/radiographs.py", "benchmarks/second_generator.py"}
"""Scripts that read rows which they themselves have written; nothing of others'."""
SCRIPTS = sorted(PACKAGE.rglob("*.js"))
PUBLISHED = {"reveal.js": {"new Function", "innerHTML"}, "plot.js": {"innerHTML"}}
"""Scripts of others, taken in as they are published, and what is known of them."""


def dotted(node):
    """``os.system`` of a call's function, empty for anything computed."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def code_of(path):
    """Python of a module, or of a notebook's cells without what is meant for IPython."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def imported(tree):
    """What names stand for that were imported otherwise than by their own: ``{"load": "pickle.load"}``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.asname, each.name) for each in node.names if each.asname)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def calls(path):
    tree = ast.parse(code_of(path))
    known = dict(imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = dotted(node.func).partition(".")
            words = {word.arg: word.value for word in node.keywords}
            yield f"{known.get(head, head)}{dot}{rest}", words, node.lineno


def is_forbidden(name, words):
    given = {word: getattr(words[word], "value", None) for word in ("shell", "allow_pickle") if word in words}
    asked = any(value is not False for value in given.values()) and name not in OTHER_SHELLS
    plain = name.replace("numpy.", "np.").replace("pandas.", "pd.")
    return name in FORBIDDEN or plain in FORBIDDEN or asked


def test_no_module_script_or_notebook_runs_what_it_reads():
    assert len(MODULES) > 100 and len(NOTEBOOKS) == 10 and len(OTHERS) > 20
    found = [
        f"{path.relative_to(path.parents[1])}:{line}: {name}"
        for path in (*MODULES, *OTHERS, *NOTEBOOKS)
        for name, words, line in calls(path)
        if is_forbidden(name, words)
    ]
    assert {text.partition(":")[0] for text in found} <= OWN_PICKLES


def test_no_notebook_talks_to_a_shell():
    assert [path.name for path in NOTEBOOKS if re.search(r"^\s*[!%]", code_of(path), re.M)] == []


def test_the_search_finds_what_it_looks_for(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os, pickle\nos.system('x')\npickle.load(f)\nrun('x', shell=True)\neval('1')\n"
        "from pickle import loads as read\nread(b'')\nimport pandas\npandas.read_pickle('x')\nrun('x', shell=yes)\n"
        "import os as o\no.popen('x')\nfrom numpy import load\nload('x', allow_pickle=1)\nrun(['x'], shell=False)\n"
    )
    found = list(calls(tmp_path / "a.py"))
    assert [is_forbidden(name, words) for name, words, _ in found] == [True] * 9 + [False]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_runs_text_or_takes_text_for_a_page(path):
    text = path.read_text("utf-8")
    ways = {
        "eval": r"(?<![.\w$])eval\s*\(", "new Function": r"new\s+Function\s*\(|(?<![.\w$])Function\s*\(",
        "document.write": r"document\.write",
        "timer": r"set(?:Timeout|Interval)\s*\(\s*[\"'`]", "import": r"\bimport\s*\(\s*[\"'`]https?:",
        "innerHTML": r"\b(?:inner|outer)HTML\s*[=:]|insertAdjacentHTML|createContextualFragment|srcdoc",
    }  # fmt: skip
    found = {name for name, pattern in ways.items() if re.search(pattern, text)}
    raw = {"innerHTML"} if path.name == "export.js" else set()
    assert found <= PUBLISHED.get(path.name, raw)


def test_the_only_text_taken_for_a_page_is_what_a_notebook_gave_as_one():
    """``widgets.HTML`` and the saved outputs of cells, which are HTML by name."""
    (export,) = [path for path in SCRIPTS if path.name == "export.js"]
    lines = [line.strip() for line in export.read_text("utf-8").splitlines() if "innerHTML" in line]
    assert len(lines) == 2
    assert 'bind(model, "value"' in lines[0] and 'data["text/html"]' in lines[1]
