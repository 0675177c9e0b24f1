"""Gather every wheel of an installation in one folder, to carry to machines without a network.

    python tools/wheelhouse.py --out wheelhouse                                  # for this machine and Python
    python tools/wheelhouse.py --out wheelhouse --python 3.12 --platform win_amd64   # for another
    python tools/wheelhouse.py --out wheelhouse --group worker                   # a cluster node, without JupyterLab

The folder then holds the wheels, ``requirements.txt`` with a hash of each, and ``README.txt`` with the two lines that
install them. Run it where there is a network, with the project's own folder around it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PLATFORMS = {
    "linux_x86_64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "linux_aarch64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "macosx_arm64": ("macosx_12_0_arm64", "macosx_11_0_arm64"),
    "win_amd64": ("win_amd64",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the folder; returns the exit status."""
    options = _parser().parse_args(arguments)
    out = options.out.resolve()
    if out.exists() and any(out.iterdir()):
        print(f"{options.out}: holds files; give a new or empty folder", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    try:
        ours = _build(out)
        _download(out, _wanted(options.group, options.extra, options.python), options.python, options.platform)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(out, ignore_errors=True)
        print(f"{options.out}: pip ended with status {error.returncode}, see above; nothing is left", file=sys.stderr)
        return 1
    wheels = sorted(out.glob("*.whl"))
    _write_requirements(out, wheels)
    _write_readme(out, ours, options)
    size = sum(path.stat().st_size for path in wheels) / 1e6
    print(f"{len(wheels)} wheels, {size:.0f} MB in {options.out}; {options.out}/README.txt says how to install them")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder")
    parser.add_argument("--python", metavar="X.Y", help="Python of the other machine (default: this one's)")
    parser.add_argument("--platform", choices=sorted(_PLATFORMS), help="the other machine (default: this one)")
    parser.add_argument(
        "--group", choices=["worker"], help="worker: what measuring needs, without JupyterLab and pages"
    )
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="an extra as well, such as dicom")
    return parser


def _wanted(group: str | None, extras: Sequence[str], python: str | None = None) -> list[str]:
    """Requirement lines of pyproject.toml that hold for that Python; pip reads their conditions as of its own."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = list(told["dependency-groups"][group] if group else told["project"]["dependencies"])
    for extra in extras:
        lines += told["project"]["optional-dependencies"][extra]
    wanted = tuple(map(int, python.split("."))) if python else sys.version_info[:2]
    return [line.partition(";")[0] for line in lines if _holds(line.partition(";")[2], wanted)]


def _holds(condition: str, python: tuple[int, ...]) -> bool:
    """Whether ``python_version < '3.14'``, the one form that pyproject.toml has, holds; an empty one does."""
    before = re.fullmatch(r" python_version < '(\d+)\.(\d+)'", condition)
    if condition and not before:
        raise ValueError(f"pyproject.toml: {condition!r} is not a condition that this script reads")
    return not before or python < tuple(map(int, before.groups()))


def _build(out: Path) -> str:
    """Our own wheel; returns its file name."""
    with tempfile.TemporaryDirectory() as scratch:
        _pip("wheel", "--no-deps", "--wheel-dir", scratch, str(ROOT))
        (wheel,) = Path(scratch).glob("*.whl")
        shutil.copy2(wheel, out)
        return wheel.name


def _download(out: Path, wanted: list[str], python: str | None, platform: str | None) -> None:
    target: list[str] = []
    if python:
        target += ["--python-version", python]
    for tag in _PLATFORMS.get(platform or "", ()):
        target += ["--platform", tag]
    _pip("download", "--only-binary", ":all:", "--dest", str(out), *target, *wanted)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"], check=True)


def _write_requirements(out: Path, wheels: Sequence[Path]) -> None:
    lines = []
    for path in wheels:
        name, version = path.name.split("-")[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
    (out / "requirements.txt").write_text("".join(lines), encoding="utf-8")


def _write_readme(out: Path, ours: str, options: argparse.Namespace) -> None:
    python = options.python or f"{sys.version_info.major}.{sys.version_info.minor}"
    deps = " --no-deps" if options.group else ""
    (out / "README.txt").write_text(
        f"{ours} and all it needs, for Python {python}{', ' + options.platform if options.platform else ''}.\n"
        "In this folder, without a network (on Windows py for python3, .venv\\Scripts\\ for .venv/bin/):\n\n"
        "python3 -m venv .venv\n"
        f".venv/bin/python -m pip install --no-index --find-links . --require-hashes{deps} -r requirements.txt\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    raise SystemExit(main())
