"""What a CT does not show: beyond a round field of view scanners fill the corners with one value."""

from __future__ import annotations

import numpy as np

from ipha_toolkit.grid import BoolArray
from ipha_toolkit.volume import Volume

_NO_TISSUE_HU = -990.0
"""Corners of one value above this may be a body or a table."""


def unseen(ct: Volume) -> BoolArray:
    """Voxels without a value, and those that hold the value of all four corners in every axial plane.

    Parameters
    ----------
    ct : Volume
        HU, in RAS order.

    Returns
    -------
    bool array of the volume's shape
        Where air of the room has one value as well, as in simulated images and where the table was erased, it counts.
    """
    found = np.isnan(ct.array)
    corners = ct.array[:: max(1, ct.shape[0] - 1), :: max(1, ct.shape[1] - 1)]
    value = corners.flat[0]
    if value <= _NO_TISSUE_HU and (corners == value).all():
        found |= (ct.array == value).all(axis=2)[..., None]
    return np.asarray(found)
