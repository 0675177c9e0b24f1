"""Alignment of a simulated patient who moved, beside itk-elastix and ANTs: error in the lungs, time, quality.

Run ``python benchmarks/align.py`` in an environment that also holds ``itk-elastix`` and ``antspyx``; what is missing is
left out. The second scan has noise of its own and another grid; the motion is resampled into it, so that
no header tells.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SPACING_MM = {"T1w": (1.6, 2.0, 1.2), "T2w": (1.6, 2.0, 1.2), "ct": (1.6, 2.0, 1.2)}  # about 256x150x256 voxels
PAIRS = (("T1w", "T2w"), ("ct", "ct"), ("ct", "T1w"))
DEGREES, SHIFT_MM = (6, -4, 8), (14, -9, 22)


def motion(degrees, shift_mm, center_mm):
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = center_mm + np.array(shift_mm) - matrix[:3, :3] @ center_mm
    return matrix


def scanned_again(volume, matrix):
    """The volume moved, on an upright grid of 5 % larger voxels."""
    from ipha_toolkit.image.geometry import resample_to
    from ipha_toolkit.volume import Mask

    moved = volume.replace(affine=matrix @ volume.affine)
    spacing = 1.05 * np.array(volume.spacing_mm)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = moved.to_world((np.array(volume.shape) - 1) / 2) - spacing * (np.array(volume.shape) - 1) / 2
    seen = resample_to(moved, Mask(np.zeros(volume.shape, bool), affine))
    return seen.replace(array=np.nan_to_num(seen.array, nan=float(np.nanmin(volume.array))))


def ours(moving, fixed):
    from ipha_toolkit.image.align import align

    found = align(moving, fixed)
    return found.matrix, found.quality


def elastix(moving, fixed):
    import itk

    images = [_itk(volume, itk) for volume in (fixed, moving)]
    parameters = itk.ParameterObject.New()
    settings = parameters.GetDefaultParameterMap("rigid", 4)
    settings["AutomaticTransformInitializationMethod"] = ["CenterOfGravity"]
    settings["AutomaticTransformInitialization"] = ["true"]
    parameters.AddParameterMap(settings)
    _, found = itk.elastix_registration_method(*images, parameter_object=parameters)
    table = found.GetParameterMap(0)
    angles_and_shift = np.array(table["TransformParameters"], float)
    center = np.array(table["CenterOfRotationPoint"], float)
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetCenter(center.tolist())
    transform.SetParameters(itk.OptimizerParameters[itk.D](angles_and_shift.tolist()))
    matrix = itk.array_from_matrix(transform.GetMatrix())
    return _from_lps(matrix, np.array(transform.GetOffset())), np.nan


def ants(moving, fixed):
    import ants as package

    images = [_ants(volume, package) for volume in (fixed, moving)]
    result = package.registration(*images, type_of_transform="Rigid", random_seed=1)
    transform = package.read_transform(result["fwdtransforms"][0])
    parameters, center = np.array(transform.parameters), np.array(transform.fixed_parameters)[:3]
    matrix = parameters[:9].reshape(3, 3)
    return _from_lps(matrix, parameters[9:] + center - matrix @ center), np.nan


def _itk(volume, itk):
    image = itk.image_from_array(np.ascontiguousarray(volume.array.T))
    image.SetSpacing([float(s) for s in volume.spacing_mm])
    image.SetOrigin((np.diag([-1, -1, 1]) @ volume.affine[:3, 3]).tolist())
    image.SetDirection(np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3, :3] / volume.spacing_mm)
    return image


def _ants(volume, package):
    direction = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3, :3] / volume.spacing_mm
    origin = (np.diag([-1, -1, 1]) @ volume.affine[:3, 3]).tolist()
    return package.from_numpy(volume.array.copy(), origin=origin, spacing=list(volume.spacing_mm), direction=direction)


def _from_lps(linear, offset):
    """Moving-to-fixed matrix in RAS+ from ITK's fixed-to-moving linear part and offset in LPS."""
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = linear, offset
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.linalg.inv(flip @ lps @ flip)


def error_mm(found, true, lungs):
    points = lungs.to_world(np.argwhere(lungs.array)[::997])
    both = found @ true
    distance = np.linalg.norm(points @ both[:3, :3].T + both[:3, 3] - points, axis=1)
    return distance.mean(), distance.max()


def cases(seed=31):
    from ipha_toolkit.phantom.disease import Bleed
    from ipha_toolkit.phantom.subject import simulate_course

    bleeds = [Bleed(day=-200.0 * n, severity=0.6) for n in range(1, 4)]
    first, second = simulate_course(bleeds, [0, 1], seed=seed, spacing_mm=SPACING_MM, modalities=list(SPACING_MM))
    for moving, fixed in PAIRS:
        lungs = first.truth[fixed].masks["lung"]
        true = motion(DEGREES, SHIFT_MM, lungs.to_world(np.argwhere(lungs.array)).mean(axis=0))
        yield f"{moving} to {fixed}", scanned_again(second.volumes[moving], true), first.volumes[fixed], true, lungs


def main():
    names = sys.argv[1:] or ["ours", "elastix", "ants"]
    lines = [
        "| pair | shapes | method | error in the lungs, mean and largest, mm | seconds (of processors) | quality |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for pair, moving, fixed, true, lungs in cases():
        for name in names:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                matrix, quality = globals()[name](moving, fixed)
            except ImportError:
                lines.append(f"| {pair} | | {name} | not installed | | |")
                continue
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            mean, largest = error_mm(matrix, true, lungs)
            shapes = " and ".join("x".join(map(str, volume.shape)) for volume in (moving, fixed))
            lines.append(
                f"| {pair} | {shapes} | {name} | {mean:.2f}, {largest:.2f} | {wall:.1f} ({cpu:.1f}) | {quality:.2f} |"
            )
            print(lines[-1], flush=True)
            text = "# Rigid alignment of a simulated patient\n\nVoxels of 1.2 to 2.1 mm.\n\n" + "\n".join(lines) + "\n"
            (Path(__file__).parent / "results" / "align.md").write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
