"""The long table as a REDCap project takes it and gives it: one repeating instrument, an instance a row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.errors import DataError

INSTRUMENT = "ipha_measures"
_KEYS = ("record_id", "redcap_repeat_instrument", "redcap_repeat_instance")
_FIELDS = {name: f"ipha_{name}" for name in ROW_COLUMNS if name != "subject"}


def to_redcap(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the one table as records of REDCap's CSV import.

    Parameters
    ----------
    rows : DataFrame
        As of :func:`ipha_toolkit.analyze`.

    Returns
    -------
    DataFrame
        ``record_id`` (the subject), ``redcap_repeat_instrument`` (``ipha_measures``), ``redcap_repeat_instance`` (from
        1 for each subject), and the columns of the table as ``ipha_session``, ``ipha_modality`` and so on. The project
        needs that repeating instrument with text fields of these names.
    """
    made = rows[list(ROW_COLUMNS)].reset_index(drop=True)
    keys = pd.DataFrame({
        "record_id": made["subject"], "redcap_repeat_instrument": INSTRUMENT,
        "redcap_repeat_instance": made.groupby("subject").cumcount() + 1,
    })  # fmt: skip
    return pd.concat([keys, made.rename(columns=_FIELDS)[list(_FIELDS.values())]], axis=1)


def from_redcap(path: str | Path) -> pd.DataFrame:
    """Rows of the one table from a CSV export of REDCap; records of other instruments are left out.

    Raises
    ------
    DataError
        Where a column is missing, a value is no number, or a measure is not of the catalogue.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in (*_KEYS[:2], *_FIELDS.values()) if name not in table]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}; export raw values, all fields, as CSV")
    own = table[table["redcap_repeat_instrument"] == INSTRUMENT]
    rows = own.rename(columns={field: name for name, field in _FIELDS.items()} | {"record_id": "subject"})
    unknown = sorted(set(rows["measure"]) - set(MEASURES))
    if unknown:
        raise DataError(f"{path}: measures not in the catalogue: {', '.join(unknown[:5])}")
    try:
        value, n_voxels = pd.to_numeric(rows["value"].replace("", None)), pd.to_numeric(rows["n_voxels"])
    except ValueError as error:
        raise DataError(f"{path}: ipha_value and ipha_n_voxels hold numbers alone: {error}") from error
    rows = rows.assign(value=value.astype(float), n_voxels=n_voxels.astype("int64"))
    return rows[list(ROW_COLUMNS)].reset_index(drop=True)
