"""What one voxel of lung gives in T1w and T2w, by how much water, iron and methemoglobin it holds: no image is made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.phantom import physics
from ipha_toolkit.phantom.disease import DiseaseMaps

T1W: physics.GreTimes = {"te_ms": 0.8, "tr_ms": 3.6, "flip_deg": 12.0}
"""Settings of the simulated T1w."""
T2W_TE_MS, T2W_TR_MS = 60.0, 1200.0
"""Settings of the simulated T2w."""


def lung_signal(
    *,
    water: npt.ArrayLike = 0.0,
    iron: npt.ArrayLike = 0.0,
    methemoglobin: npt.ArrayLike = 0.0,
    field_strength_t: float = 1.5,
) -> pd.DataFrame:
    """Signal of lung over that of muscle in the simulated T1w and T2w, without noise.

    Parameters
    ----------
    water : array_like
        Share of the air space filled with water, 0 to 1. All three are broadcast against each other.
    iron, methemoglobin : array_like
        Load in arbitrary units, 0 or more; 1 is heavy.
    field_strength_t : {1.5, 3.0}

    Returns
    -------
    DataFrame
        One row a state: ``water``, ``iron``, ``methemoglobin``, ``t1w``, ``t2w`` (ratio to muscle).

    Raises
    ------
    ValueError
        Where a share lies outside 0 to 1 or a load is negative.

    Examples
    --------
    Water raises T2w over T1w, iron lowers it:

    >>> found = lung_signal(water=[0, 0.3, 0], iron=[0, 0, 0.3])
    >>> (found["t2w"] / found["t1w"]).round(2).tolist()
    [1.08, 2.78, 0.51]
    """
    states = [np.atleast_1d(each).astype(np.float32) for each in np.broadcast_arrays(water, iron, methemoglobin)]
    filled, iron_load, met = states
    if filled.min() < 0 or filled.max() > 1 or min(iron_load.min(), met.min()) < 0:
        raise ValueError("water is a share from 0 to 1, iron and methemoglobin are 0 or more")
    none = np.zeros_like(filled)
    maps = DiseaseMaps(none, filled, none, none, met, iron_load, pd.DataFrame())
    lung = physics.lung_state(np.full_like(none, physics.LUNG_WATER), maps, field_strength_t)
    muscle, at = physics.TISSUES["muscle"], physics.FIELDS_T.index(field_strength_t)
    r1, r2 = 1e3 / muscle.t1_ms[at], 1e3 / muscle.t2_ms[at]
    t1w = physics.spoiled_gre_signal(lung.water, lung.r1, lung.r2star, **T1W)
    t2w = physics.spin_echo_signal(lung.water, lung.r1, lung.r2, te_ms=T2W_TE_MS, tr_ms=T2W_TR_MS)
    t1w /= physics.spoiled_gre_signal(muscle.pd, r1, 1.6 * r2, **T1W)
    t2w /= physics.spin_echo_signal(muscle.pd, r1, r2, te_ms=T2W_TE_MS, tr_ms=T2W_TR_MS)
    found = {"water": filled, "iron": iron_load, "methemoglobin": met, "t1w": t1w, "t2w": t2w}
    return pd.DataFrame({name: values.astype(float) for name, values in found.items()})
