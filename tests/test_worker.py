"""A node of a cluster measures with the packages of the group ``worker`` alone: no notebooks, no pages, no figures."""

import subprocess
import sys
import tomllib
from pathlib import Path

from toys import put_session, toy_ct, toy_mr

ROOT = Path(__file__).parents[1]
IMPORTED_AS = {"pillow": "PIL", "scikit-image": "skimage", "beautifulsoup4": "bs4", "jupyterlab": "jupyterlab"}

RUN = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition('.')[0] in {absent!r}:
            raise ModuleNotFoundError(f'{{name}} is not on this node')
sys.meta_path.insert(0, Absent())
from ipha_toolkit.cli import main
if __name__ == '__main__':
    raise SystemExit(main(['analyze', {cohort!r}, '--out', {out!r}, '--workers', '1', '-q']))
"""


def requirements(lines):
    return {line.partition(">")[0].strip() for line in lines if isinstance(line, str)}


def test_a_worker_measures_without_what_it_was_not_given(tmp_path):
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    all_of_it, worker = requirements(told["project"]["dependencies"]), requirements(told["dependency-groups"]["worker"])
    assert worker < all_of_it
    absent = sorted(IMPORTED_AS.get(name, name) for name in all_of_it - worker)
    assert "jupyterlab" in absent and "matplotlib" in absent
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_mr(), toy_ct()])
    script = tmp_path / "node.py"
    script.write_text(RUN.format(absent=absent, cohort=str(tmp_path / "cohort"), out=str(tmp_path / "out")))
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "out" / "measures.tsv").exists()
