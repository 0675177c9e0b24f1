"""Bring two images of one patient together: rigid or affine; two dates, T1w and T2w, or MRI and CT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import Affine, BoolArray, FloatArray, Grid
from ipha_toolkit.image.geometry import block_factors, block_mean, on_grid
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

Kind = Literal["rigid", "affine"]

POSITION = ["x_mm", "y_mm", "z_mm"]

_LEVELS_MM = (12.0, 6.0, 3.0)
"""Isotropic grids of the three rounds, mm."""
_SCORE_MM = 6.0
_LUNG_MARGIN_MM = 25.0
"""Where there are lung masks, what lies farther from them than this is not looked at: arms move, chests less."""
_FEWEST_VOXELS = 200
_BINS = 32
_MOST_SAMPLES = 30_000
_ITERATIONS = 100
_SEED = 1
_UNIT_MM = 100.0
"""Lengths are given to the optimizer in this unit, so that a radian and a unit move the chest about as far."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """How to carry one image of a patient, the moving one, onto another, the fixed one.

    Attributes
    ----------
    matrix : ndarray, shape (4, 4)
        **Maps points of the moving image to points of the fixed one**, both in patient millimetres, RAS+:
        ``fixed_point = matrix @ [x, y, z, 1]``. Read-only.
    kind : {"rigid", "affine"}
    quality : float
        Entropy correlation coefficient of the two images after alignment, 2 I / (H1 + H2) of 32 gray levels at 6 mm,
        inside the body: 0 unrelated, 1 either image foretells the other. On the phantom: 0.5 for two images of one
        kind, 0.2 to 0.35 for MRI and CT or T1w and T2w, 0.07 to 0.17 with one of them upside down; a real kidney on a
        real chest below 0.06. Noise lowers it. It says that the images fit, not how many mm are left.
    overlap : float
        Share of the smaller field of view that both images cover after alignment, 0 to 1.
    lung_dice : float
        Overlap of the two lung masks after alignment, 0 to 1; NaN where a mask was not given.
    surface_mm, surface_p95_mm : float
        Mean and 95th percentile of the distance between the surfaces of the two lung masks after alignment, mm. With
        ``lung_dice``, what no rigid or affine motion explains: breathing, disease, masks that disagree. NaN where a
        mask was not given.
    moving_grid, fixed_grid : Grid
        Where the voxels of both images lie.
    """

    matrix: Affine
    kind: Kind
    quality: float
    overlap: float
    lung_dice: float
    surface_mm: float
    surface_p95_mm: float
    moving_grid: Grid
    fixed_grid: Grid

    @overload
    def apply(self, item: Volume, *, like: Volume | Mask | None = None, order: int = 1) -> Volume: ...
    @overload
    def apply(self, item: Mask, *, like: Volume | Mask | None = None, order: int = 1) -> Mask: ...
    @overload
    def apply(self, item: pd.DataFrame) -> pd.DataFrame: ...
    def apply(
        self, item: Volume | Mask | pd.DataFrame, *, like: Volume | Mask | None = None, order: int = 1
    ) -> Volume | Mask | pd.DataFrame:
        """Carry an image, map, mask or nodule table of the moving side over to the fixed side.

        Parameters
        ----------
        item : Volume, Mask or DataFrame
            In the moving image's space, on any grid. A table needs columns x_mm, y_mm, z_mm (RAS+).
        like : Volume or Mask, optional
            Whose grid the result has; by default the fixed image's.
        order : {0, 1, 3}
            Interpolation, see :func:`ipha_toolkit.image.geometry.resample_to`.

        Returns
        -------
        Volume, Mask or DataFrame
            As ``item``. An image is NaN, a mask False, where the moving image does not reach. A table keeps its other
            columns as they are, diameters among them.

        Raises
        ------
        ValueError
            Where a table lacks a position column.
        """
        if isinstance(item, pd.DataFrame):
            return _moved_table(item, self.matrix)
        grid = self.fixed_grid if like is None else like.grid
        return on_grid(item.replace(affine=self.matrix @ item.affine), grid, order)

    def inverse(self) -> Alignment:
        """The same alignment the other way: carries things of the fixed side over to the moving side."""
        return Alignment(
            _locked(np.linalg.inv(self.matrix)), self.kind, self.quality, self.overlap, self.lung_dice,
            self.surface_mm, self.surface_p95_mm, self.fixed_grid, self.moving_grid,
        )  # fmt: skip


def align(
    moving: Volume,
    fixed: Volume,
    *,
    kind: Kind = "rigid",
    moving_mask: Mask | None = None,
    fixed_mask: Mask | None = None,
    protocol: Protocol = DEFAULT,
) -> Alignment:
    """Align one image of a patient to another.

    Parameters
    ----------
    moving, fixed : Volume
        Any two of CT and MRI, on any grids.
    kind : {"rigid", "affine"}
        Turn and shift; or stretch and shear too, which follows part of the breathing but also invents it where images
        show little.
    moving_mask, fixed_mask : Mask, optional
        Lungs, each on its image's grid. They help to start, hold the search near the chest, and give ``lung_dice`` and
        the surface distances.
    protocol : Protocol

    Returns
    -------
    Alignment
        Its ``matrix`` maps moving points to fixed points, mm, RAS+.

    Raises
    ------
    GridError
        Where a mask is not on its image's grid.
    ImageError
        Where an image is constant, a mask empty, or the alignment failed: ``quality``, ``overlap`` or ``lung_dice``
        below, turn or stretch beyond the protocol's limits.
    ValueError
        Where kind is neither rigid nor affine.

    Notes
    -----
    Mattes mutual information on grids of 12, 6 and 3 mm, from several starts (as the scanner placed them, centers of
    the lungs or of the signal, centers of the fields of view) of which the best goes on. Samples are drawn with a
    fixed seed on one thread: the same input gives the same matrix. ``benchmarks/align.py`` has the errors on the
    phantom, a few tenths of a mm. A wrong alignment of two chests can look plausible, so look at it.

    References
    ----------
    Maes et al., Multimodality image registration by maximization of mutual information, IEEE Trans Med Imaging
    1997;16(2):187
    """
    if kind not in ("rigid", "affine"):
        raise ValueError(f"kind is rigid or affine, got {kind!r}")
    levels = [(_Side.of(moving, moving_mask, mm), _Side.of(fixed, fixed_mask, mm)) for mm in _LEVELS_MM]
    matrix = _search(levels, kind)
    quality, overlap = _fit(*levels[_LEVELS_MM.index(_SCORE_MM)], matrix)
    left = _residual(moving_mask, fixed_mask, matrix)
    alignment = Alignment(_locked(matrix), kind, quality, overlap, *left, moving.grid, fixed.grid)
    _require_success(alignment, moving, fixed, protocol)
    return alignment


# ------------------------------------------------------------------------------------------------- one image, coarse


@dataclass(frozen=True)
class _Side:
    """One image on an isotropic grid along x, y, z: gray values of 0 to 1, where there are any, where to look."""

    image: Volume
    known: BoolArray
    look: BoolArray
    lungs: BoolArray | None

    @classmethod
    def of(cls, volume: Volume, mask: Mask | None, spacing_mm: float) -> _Side:
        grid = _upright_grid(volume, spacing_mm)
        image = on_grid(_thinned(volume, spacing_mm), grid, 1)
        known = np.isfinite(image.array)
        gray = _gray(image.array[known], volume)
        array = np.zeros(grid.shape, np.float32)
        array[known] = gray
        if mask is None:
            return cls(image.replace(array=array), known, known, None)
        volume.require_same_grid(mask)
        if not mask.n_voxels:
            raise ImageError(f"{mask.name or 'lung mask'} of {volume.name or 'volume'}: is empty, nothing to align by")
        share = on_grid(_thinned(mask, spacing_mm), grid, 1).array
        lungs = np.nan_to_num(share) >= 0.5
        if not lungs.any():
            raise ImageError(
                f"{mask.name or 'lung mask'} of {volume.name or 'volume'}: {mask.volume_ml:.2g} mL are no lungs"
            )
        return cls(image.replace(array=array), known, known & _near(lungs, spacing_mm), lungs)

    def center(self, weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Center of mass in mm."""
        from scipy import ndimage

        return self.image.to_world(ndimage.center_of_mass(weights))

    def centers(self) -> Iterator[npt.NDArray[np.float64]]:
        """By which two images may be laid on each other: center of the lungs or the signal, of the field of view."""
        yield self.center(self.image.array if self.lungs is None else self.lungs)
        yield self.center(np.ones(self.image.shape, bool))


def _thinned(image: Volume | Mask, spacing_mm: float) -> Volume:
    """Means over blocks of at most the spacing, so that a coarser grid does not pick up single voxels."""
    factors = block_factors(image, spacing_mm)
    array = image.array if isinstance(image, Volume) else image.array.astype(np.float32)
    missing = float(np.nanmin(array)) if np.isnan(array).any() and not np.isnan(array).all() else 0.0
    return Volume(block_mean(array, factors, missing=missing), image.grid.coarser(factors).affine)


def _upright_grid(volume: Volume, spacing_mm: float) -> Grid:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(volume.shape) - 1)
    points = volume.to_world(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    i, j, k = (int(n) for n in np.maximum(np.round((high - low) / spacing_mm), 0) + 1)
    origin = (low + high) / 2 - spacing_mm * (np.array([i, j, k]) - 1) / 2
    return Grid.upright((i, j, k), [spacing_mm] * 3, origin.tolist())


def _gray(values: FloatArray, volume: Volume) -> FloatArray:
    """Values between two percentiles as 0 to 1: neither metal nor a bright coil uses up the gray levels."""
    low, high = np.percentile(values, [0.5, 99.0]) if values.size else (0.0, 0.0)
    if volume.modality == "ct":
        low, high = max(low, -1000.0), min(high, 300.0)
    if values.size < _FEWEST_VOXELS or not low < high:
        raise ImageError(f"{volume.name or 'volume'}: too small or constant, there is nothing to align by")
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)


def _near(lungs: BoolArray, spacing_mm: float) -> BoolArray:
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(~lungs, sampling=spacing_mm) <= _LUNG_MARGIN_MM)


# ------------------------------------------------------------------------------------------------------- the search


def _search(levels: list[tuple[_Side, _Side]], kind: Kind) -> Affine:
    """Matrix from moving to fixed points that fits best, from the coarsest grid to the finest."""
    moving, fixed = levels[0]
    found = [_refined(moving, fixed, start, "rigid", _LEVELS_MM[0]) for start in _starts(moving, fixed)]
    matrix = max(found, key=lambda m: np.prod(_fit(moving, fixed, m)))
    for (moving, fixed), spacing_mm in zip(levels[1:], _LEVELS_MM[1:], strict=True):
        matrix = _refined(moving, fixed, matrix, kind, spacing_mm)
    return matrix


def _starts(moving: _Side, fixed: _Side) -> list[Affine]:
    shifts = [np.zeros(3), *(to - at for at, to in zip(moving.centers(), fixed.centers(), strict=True))]
    starts = [np.eye(4) for _ in shifts]
    for start, shift in zip(starts, shifts, strict=True):
        start[:3, 3] = shift
    return starts


def _refined(moving: _Side, fixed: _Side, start: Affine, kind: Kind, spacing_mm: float) -> Affine:
    """The start, improved by gradient descent on mutual information; the start itself where images do not meet."""
    import SimpleITK as sitk

    inverse = np.linalg.inv(start)  # ITK's transform goes from fixed to moving points
    center = fixed.center(fixed.look)
    transform = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    transform.SetCenter((center / _UNIT_MM).tolist())
    transform.SetMatrix(inverse[:3, :3].ravel().tolist())
    transform.SetTranslation(((inverse[:3, :3] @ center + inverse[:3, 3] - center) / _UNIT_MM).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetInitialTransform(transform, True)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(_itk(fixed, fixed.look))
    method.SetMetricMovingMask(_itk(moving, moving.known))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, _MOST_SAMPLES / np.count_nonzero(fixed.look)), _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        spacing_mm / 3 / _UNIT_MM, spacing_mm / 200 / _UNIT_MM, _ITERATIONS, 0.5, 1e-8
    )
    with _one_thread():
        method.SetNumberOfThreads(1)
        try:
            method.Execute(_itk(fixed, fixed.image.array), _itk(moving, moving.image.array))
        except RuntimeError:  # ITK's complaint that too few samples fall into the moving image
            return start
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    found = np.eye(4)
    found[:3, :3] = linear
    found[:3, 3] = center + np.array(transform.GetTranslation()) * _UNIT_MM - linear @ center
    return np.asarray(np.linalg.inv(found))


def _itk(side: _Side, array: npt.NDArray[Any]) -> Any:
    """An ITK image whose physical space is RAS+ in the optimizer's unit; the grid is upright and needs no direction."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(
        np.ascontiguousarray(array.T).astype(np.uint8 if array.dtype == bool else np.float32)
    )
    image.SetSpacing((np.array(side.image.spacing_mm) / _UNIT_MM).tolist())
    image.SetOrigin((side.image.affine[:3, 3] / _UNIT_MM).tolist())
    return image


@contextmanager
def _one_thread() -> Iterator[None]:
    """More threads sum in another order: the last digits would hang on the machine."""
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


# ----------------------------------------------------------------------------------------------------- how good it is


def _fit(moving: _Side, fixed: _Side, matrix: Affine) -> tuple[float, float]:
    """Entropy correlation coefficient where both images are, and the share of the smaller field of view they share."""
    grid = fixed.image.grid
    carried = on_grid(moving.image.replace(affine=matrix @ moving.image.affine), grid, 1).array
    known = np.isfinite(carried) & (on_grid(Mask(moving.known, matrix @ moving.image.affine), grid, 0).array)
    scale = abs(float(np.linalg.det(matrix[:3, :3])))
    smaller = min(np.count_nonzero(fixed.known), scale * np.count_nonzero(moving.known))
    overlap = min(1.0, np.count_nonzero(known & fixed.known) / smaller)
    both = known & _body(fixed)
    if np.count_nonzero(both) < _FEWEST_VOXELS:
        return 0.0, overlap
    return entropy_correlation(carried[both], fixed.image.array[both]), overlap


def _body(side: _Side) -> BoolArray:
    """The largest bright piece, lungs filled in: air around the patient would make any two chests agree."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    bright = ndimage.binary_opening(side.image.array > 0.5 * threshold_otsu(side.image.array[side.known]))
    labels, count = ndimage.label(bright)
    if not count:
        return side.known
    largest = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(largest, 2, 0)], axis=2)
    return np.asarray(filled & side.known)


def entropy_correlation(a: FloatArray, b: FloatArray) -> float:
    """Entropy correlation coefficient 2 I / (H(a) + H(b)) of paired values of 0 to 1, in 32 bins: 0 to 1.

    Examples
    --------
    >>> values = np.linspace(0, 1, 100, dtype=np.float32)
    >>> round(entropy_correlation(values, 1 - values), 6)
    1.0
    """
    joint, _, _ = np.histogram2d(a, b, bins=_BINS, range=((0, 1), (0, 1)))
    single = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))
    return float(2 * (single - _entropy(joint)) / single) if single > 0 else 0.0


def _entropy(counts: npt.NDArray[np.float64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _require_success(found: Alignment, moving: Volume, fixed: Volume, protocol: Protocol) -> None:
    limits = protocol.alignment
    turn, stretch = _turn_deg(found.matrix), np.linalg.svd(found.matrix[:3, :3], compute_uv=False)
    reasons = [
        (found.quality < limits.quality_least, f"quality {found.quality:.3f}, needed {limits.quality_least}"),
        (found.overlap < limits.overlap_least, f"overlap {found.overlap:.2f}, needed {limits.overlap_least}"),
        (
            found.lung_dice < limits.lung_dice_least,
            f"lungs overlap by a Dice of {found.lung_dice:.2f}, needed {limits.lung_dice_least}",
        ),
        (turn > limits.turn_most_deg, f"turn of {turn:.0f} degrees, at most {limits.turn_most_deg:.0f} is believed"),
        (
            max(stretch.max(), 1 / stretch.min()) > limits.stretch_most,
            f"stretch by {stretch.min():.2f} to {stretch.max():.2f}, at most {limits.stretch_most} is believed",
        ),
    ]
    failed = [reason for wrong, reason in reasons if wrong]
    if failed:
        raise ImageError(
            f"{moving.name or 'moving image'} cannot be aligned to {fixed.name or 'fixed image'}: {'; '.join(failed)}. "
            "Do both show the chest of one patient? Lung masks help; limits are in the protocol, section alignment"
        )


def _turn_deg(matrix: Affine) -> float:
    """Angle of the rotation nearest to the matrix's linear part, degrees."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(u @ v) - 1) / 2, -1, 1))))


def _residual(moving: Mask | None, fixed: Mask | None, matrix: Affine) -> tuple[float, float, float]:
    """Dice, mean and 95th percentile of the surface distance in mm of two lung masks after alignment."""
    if moving is None or fixed is None:
        return np.nan, np.nan, np.nan
    carried = on_grid(moving.replace(affine=matrix @ moving.affine), fixed.grid, 1).array
    dice = 2 * np.count_nonzero(carried & fixed.array) / (np.count_nonzero(carried) + fixed.n_voxels)
    distances = _surface_distances(carried, fixed.array, fixed.spacing_mm)
    if not distances.size:
        return dice, np.nan, np.nan
    return dice, float(distances.mean()), float(np.percentile(distances, 95))


def _surface_distances(a: BoolArray, b: BoolArray, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Distances in mm from every surface voxel of either mask to the other's surface; empty where a mask is."""
    from scipy import ndimage

    if not (a.any() and b.any()):
        return np.empty(0)
    surfaces = [mask & ~ndimage.binary_erosion(mask, border_value=1) for mask in (a, b)]
    to = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    return np.concatenate([to[1][surfaces[0]], to[0][surfaces[1]]])


def _moved_table(table: pd.DataFrame, matrix: Affine) -> pd.DataFrame:
    missing = [name for name in POSITION if name not in table.columns]
    if missing:
        raise ValueError(f"table needs columns x_mm, y_mm, z_mm to be carried across; {', '.join(missing)} missing")
    points = table[POSITION].to_numpy(float) @ matrix[:3, :3].T + matrix[:3, 3]
    return table.assign(**{name: points[:, n] for n, name in enumerate(POSITION)})


def _locked(matrix: npt.NDArray[Any]) -> Affine:
    locked = np.array(matrix, float)
    locked[3] = [0, 0, 0, 1]
    locked.flags.writeable = False
    return locked
