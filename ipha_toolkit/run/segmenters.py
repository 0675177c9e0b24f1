"""Lung segmenters that a person has installed with their weights, run by name as their own commands.

Nothing of them comes with this package. ``lungmask``: Hofmanninger et al., Eur Radiol Exp 2020;4:50,
doi 10.1186/s41747-020-00173-2. ``totalsegmentator``: Wasserthal et al., Radiol Artif Intell 2023;5:e230024,
doi 10.1148/ryai.230024.

Options, tasks, file names, labels and settings are those of lungmask 0.2.22 and TotalSegmentator 2.18.0, read in their
published source; their networks were not run, as their weights are not on the package registry. Both fetch weights
that are missing when they are called.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ipha_toolkit.errors import DependencyError, ImageError
from ipha_toolkit.io.images import save
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_COMMANDS = {"lungmask": "lungmask", "totalsegmentator": "TotalSegmentator"}
_AIR_HU = -1024.0
_MRI = (Modality.T1W, Modality.T2W, Modality.MEGRE)
_LOBES = tuple(
    f"lung_{lobe}" for lobe in ("upper_lobe_left", "lower_lobe_left", "upper_lobe_right", "middle_lobe_right",
                                "lower_lobe_right")
)  # fmt: skip
_SIDES = ("lung_left", "lung_right")

NAMES = tuple(_COMMANDS)
"""Segmenters known by name."""


@dataclass(frozen=True)
class CommandSegmenter:
    """A segmenter as a callable Volume -> Mask, which runs the command on a copy of the image in a temporary folder.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    version : str
        What the command says of itself; another version measures sessions anew.
    """

    name: str
    version: str = ""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Images it is made for; in others lungs are found as ever."""
        return (Modality.CT,) if self.name == "lungmask" else (Modality.CT, *_MRI)

    @property
    def flags(self) -> frozenset[str]:
        """Named on every row that was measured in its masks."""
        return frozenset({f"lungs_by_{self.name}"})

    def __call__(self, volume: Volume) -> Mask:
        """Find the lungs.

        Raises
        ------
        DependencyError
            Where the command is not installed.
        ImageError
            Where it fails, with the end of what it said, or finds no lung.
        """
        with tempfile.TemporaryDirectory(prefix="ipha-") as folder:
            image, out = Path(folder) / "image.nii.gz", Path(folder) / "lungs"
            save(_filled(volume), image)
            if self.name == "lungmask":
                out = out.with_suffix(".nii.gz")
                self._run(volume, [str(image), str(out)], dict(os.environ))
                files = [out]
            else:
                files = self._totalsegmentator(volume, image, out)
            parts = [_read(file) for file in files if file.is_file()]
        array = np.zeros(volume.shape, bool)
        for part in parts:
            volume.require_same_grid(part)
            array |= part.array
        if not array.any():
            raise ImageError(f"{volume.name or 'volume'}: {self.name} found no lung; pass a mask, or leave it out")
        return Mask(array, volume.affine, name="lungs")

    def _totalsegmentator(self, volume: Volume, image: Path, out: Path) -> list[Path]:
        """Its usage statistics are off in a settings folder of our own; weights are the user's, settings untouched."""
        names, task = (_LOBES, "total") if volume.modality is Modality.CT else (_SIDES, "total_mr")
        user = Path("/tmp") if str(Path.home()) == "/" else Path.home()  # as its config.py has it
        home = Path(os.environ.get("TOTALSEG_HOME_DIR", user / ".totalsegmentator"))
        settings = image.parent / "settings"
        settings.mkdir()
        off = {"totalseg_id": "none", "send_usage_stats": False, "prediction_counter": 0}
        (settings / "config.json").write_text(json.dumps(off), encoding="utf-8")
        weights = os.environ.get("TOTALSEG_WEIGHTS_PATH", str(home / "nnunet" / "results"))
        environment = os.environ | {"TOTALSEG_HOME_DIR": str(settings), "TOTALSEG_WEIGHTS_PATH": weights}
        self._run(volume, ["-i", str(image), "-o", str(out), "-ta", task, "--roi_subset", *names], environment)
        return [out / f"{name}.nii.gz" for name in names]

    def _run(self, volume: Volume, arguments: list[str], environment: dict[str, str]) -> None:
        done = subprocess.run(
            [_installed(self.name), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise ImageError(f"{volume.name or 'volume'}: {self.name} failed (exit {done.returncode}): {said}")


def _filled(volume: Volume) -> Volume:
    """The image with air where it holds no value: one NaN spreads over whatever a network sees with it."""
    air = _AIR_HU if volume.modality is Modality.CT else 0.0
    return volume.replace(array=np.nan_to_num(volume.array, nan=air, posinf=air, neginf=air))


def _read(file: Path) -> Mask:
    """What is above 0: labels of both lungs, or one lobe, which may be empty where the field of view is cut."""
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(file))
    return Mask(np.asanyarray(image.dataobj) > 0, image.affine, name=file.name)


def find_segmenter(name: str) -> CommandSegmenter:
    """The segmenter of a name, known to be installed.

    Raises
    ------
    ValueError
        Where the name is unknown.
    DependencyError
        Where its command is not on the path.
    """
    if name not in _COMMANDS:
        raise ValueError(f"segmenter needs to be one of {', '.join(NAMES)}, got {name!r}")
    return CommandSegmenter(name, _version(_installed(name)))


def _version(command: str) -> str:
    """``0.2.22``; empty where the command, perhaps a script around it, does not say."""
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+\S*\s*$", done.stdout)
    return found[0].strip() if found and done.returncode == 0 else ""


def _installed(name: str) -> str:
    found = shutil.which(_COMMANDS[name])
    if found is None:
        raise DependencyError(
            f"{name}: the command {_COMMANDS[name]} is not on the path; install it with its weights and try it once "
            "alone, or leave the segmenter out"
        )
    return found
