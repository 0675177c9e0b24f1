"""One session: images in, rows, masks and maps out. An image that cannot be measured never takes others with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ipha_toolkit.errors import IphaError, in_words
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.names import PAIR
from ipha_toolkit.io.outputs import Part, SessionResult, failure
from ipha_toolkit.measure.rows import with_flags
from ipha_toolkit.run.scan import Context, Scan
from ipha_toolkit.run.steps import PAIRS, STEPS
from ipha_toolkit.terms import Modality

_LOG = logging.getLogger(__name__)
_MRI = (Modality.T1W, Modality.T2W, Modality.MEGRE)


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
    result = SessionResult(files.subject, files.session)
    scans: dict[Modality, Scan] = {}
    for role in [role for role in Modality if role in files.modalities]:
        scan = Scan(files, role, context, before=scans.get(Modality.T1W))
        path = files.images.get(role) or files.echoes[0]
        if role not in STEPS:
            result.failures.append(failure(files, role, path.name, f"{path.name}: there is no step for {role} images"))
            continue
        measured = False
        for step in STEPS[role]:
            gave = _add(result, files, role, path, partial(step.run, scan))
            measured = measured or gave
            if not measured:  # what the first step could not find, the others would miss as well
                break
        if measured:
            scans[role] = scan
            result.acquisitions.append({"modality": str(role)} | scan.facts)
        _let_go(scan, scans)
    for roles, step in PAIRS.items():
        if all(role in scans for role in roles):
            pair = [scans[role] for role in roles]
            _add(result, files, PAIR, files.images[roles[1]], partial(step.run, *pair))
    _say_what_is_missing(result, scans, context)
    result.parts = [_flagged(part, scans) for part in result.parts]
    return result


def _flagged(part: Part, scans: dict[Modality, Scan]) -> Part:
    """The part, its rows with all flags of the images they were measured in."""
    flags = {flag for role, scan in scans.items() if role in part.modality.split("+") for flag in scan.flags}
    return replace(part, rows=with_flags(part.rows, flags))


def _let_go(scan: Scan, scans: dict[Modality, Scan]) -> None:
    """Keep of an image what the steps after it ask for: of a pair's images nearly all, of others the lungs."""
    if not any(scan.role in roles for roles in PAIRS):
        scan.forget("volume", "echoes", "chest", "chest_lungs", "sides", "regions", "vessels", "corrected")
    scan.forget("corrected")


def _say_what_is_missing(result: SessionResult, scans: dict[Modality, Scan], context: Context) -> None:
    """Flag images whose mask holds far less lung than another scan of the session shows there is."""
    settings = context.protocol.lungs
    volume_ml = {role: scans[role].lungs.volume_ml for role in _MRI if role in scans}
    in_ct = scans[Modality.CT].lungs.volume_ml if Modality.CT in scans else 0.0
    least = max(settings.mr_to_mr_least * max(volume_ml.values(), default=0.0), settings.mr_to_ct_least * in_ct)
    for role, volume in volume_ml.items():
        if volume < least:
            scans[role].flags.add("lungs_partly_missing")
            _LOG.warning("%s: %.0f mL of lung found, another scan shows %.0f mL or more", role, volume, least)


def _add(result: SessionResult, files: SessionFiles, modality: str, path: Path, measure: Callable[[], Part]) -> bool:
    """Measure, and add what it gave to the session, or why it failed; whether it gave something."""
    try:
        result.add(measure())
    except Exception as error:
        _LOG.exception("%s %s failed", modality, path.name)
        result.failures.append(failure(files, modality, path.name, _reason(error, path)))
        return False
    _LOG.info("%s %s measured", modality, path.name)
    return True


def _reason(error: Exception, path: Path) -> str:
    """The error's text, naming the file, and for what is not ours its kind."""
    text = in_words(error) if isinstance(error, IphaError | OSError) else f"{type(error).__name__}: {error}"
    return text if path.name in text else f"{path.name}: {text}"
