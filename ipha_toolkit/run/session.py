"""One session: images in, rows, masks and maps out. An image that cannot be measured never takes others with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from ipha_toolkit.errors import IphaError
from ipha_toolkit.io.images import load
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.names import PAIR
from ipha_toolkit.io.results import SessionResult, failure
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.steps.ct import measure_ct
from ipha_toolkit.run.steps.echoes import measure_echoes
from ipha_toolkit.run.steps.film import measure_film
from ipha_toolkit.run.steps.mr import PAIRED, measure_mr, measure_pair
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume


def measure_session(files: SessionFiles, context: Context) -> SessionResult:
    """Measure every image of one session.

    Parameters
    ----------
    files : SessionFiles
    context : Context
        Protocol, a lung segmenter in place of ours, flags for every row.

    Returns
    -------
    SessionResult
        Rows with subject and session filled in; an image that failed is in ``failures`` and has no row.
    """
    result = SessionResult(_empty())
    for modality, path in files.images.items():
        if modality in _MEASURE:
            _add(result, files, modality, path, partial(_measure_image, files, modality, context, result))
    if files.echoes:
        _add(result, files, Modality.MEGRE, files.echoes[0], partial(measure_echoes, files, context))
    if {f"{role}_desc-ratio_map.nii.gz" for role in PAIRED} <= set(result.images):
        _add(result, files, PAIR, files.images[Modality.T2W], partial(measure_pair, files, result, context))
    result.rows = _with_missing_lung_flagged(result, context.protocol)
    result.rows = result.rows.assign(subject=files.subject, session=files.session)
    return result


def _with_missing_lung_flagged(result: SessionResult, protocol: Protocol) -> pd.DataFrame:
    """The rows, those flagged whose mask holds far less lung than another scan of the session shows there is."""
    volume_ml = {
        role: mask.volume_ml
        for role in (*PAIRED, Modality.MEGRE, Modality.CT)
        if isinstance(mask := result.images.get(f"{role}_desc-lung_mask.nii.gz"), Mask)
    }
    in_ct = volume_ml.pop(Modality.CT, 0.0)
    in_mr = max(volume_ml.values(), default=0.0)
    least = max(protocol.lungs.mr_to_mr_least * in_mr, protocol.lungs.mr_to_ct_least * in_ct)
    small = {str(role) for role, volume in volume_ml.items() if volume < least}
    hit = result.rows["modality"].isin(small | ({PAIR} if small & set(PAIRED) else set()))
    flags = result.rows["flag"].where(~hit, result.rows["flag"].map(lambda f: f"{f};lungs_partly_missing".strip(";")))
    return result.rows.assign(flag=flags)


def _add(
    result: SessionResult, files: SessionFiles, modality: str, path: Path, measure: Callable[[], SessionResult]
) -> None:
    """Measure, and add what it gave to the session, or why it failed."""
    try:
        part = measure()
    except Exception as error:
        result.failures.append(failure(files, modality, path.name, _reason(error, path)))
        return
    result.rows = pd.concat([result.rows, part.rows], ignore_index=True) if len(result.rows) else part.rows
    result.images |= part.images
    result.tables |= part.tables


def _measure_image(files: SessionFiles, modality: Modality, context: Context, single: SessionResult) -> SessionResult:
    return _MEASURE[modality](files, load(files.images[modality], modality=modality), context, single)


_MEASURE: dict[Modality, Callable[[SessionFiles, Volume, Context, SessionResult], SessionResult]] = {
    Modality.CT: measure_ct,
    Modality.T1W: measure_mr,
    Modality.T2W: measure_mr,
    Modality.DX: measure_film,
}


def _reason(error: Exception, path: Path) -> str:
    """The error's text, naming the file, and for what is not ours its kind."""
    text = str(error) if isinstance(error, IphaError) else f"{type(error).__name__}: {error}"
    return text if path.name in text else f"{path.name}: {text}"


def _empty() -> pd.DataFrame:
    from ipha_toolkit.measure.rows import table

    return table([])
