"""Faults of folders: files that never end, tables of any spelling, results damaged, users' files, sessions gone."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from lab import ALONE, Tally, contents, fell, same

TABLES = {
    "tabs at the ends": "participant_id\tgroup\tage\nsub-c1\tcontrol\t30\t\nsub-p1\tiph\t30\t\n",
    "short rows": "participant_id\tgroup\tage\nsub-c1\tcontrol\nsub-p1\tiph\n",
    "capitals": "participant_id\tgroup\tage\nSUB-C1\tControl\t30\nSUB-P1\tIPH\t30\n",
    "without sub-": "participant_id\tgroup\tage\nc1\tcontrol\t30\np1\tiph\t30\n",
    "other names": "participant_id\tgroup\tage\nsub-x9\tcontrol\t30\nsub-p1\tiph\t30\n",
    "byte order mark": "\ufeffparticipant_id\tgroup\tage\nsub-c1\tcontrol\t30\nsub-p1\tiph\t30\n",
    "windows": "participant_id\tgroup\tage\r\nsub-c1\tcontrol\t30\r\nsub-p1\tiph\t30\r\n",
    "old mac": "participant_id\tgroup\tage\rsub-c1\tcontrol\t30\rsub-p1\tiph\t30\r",
    "quotes": 'participant_id\tgroup\tage\n"sub-c1"\t"control"\t"30"\n"sub-p1"\tiph\t30\n',
    "blanks": "participant_id \t group\tage\n sub-c1\tcontrol \t30\nsub-p1\tiph\t30\n",
    "twice, differing": "participant_id\tgroup\nsub-c1\tcontrol\nsub-c1\tiph\nsub-p1\tiph\n",
    "row missing": "participant_id\tgroup\nsub-p1\tiph\n",
    "no group": "participant_id\tage\nsub-c1\t3\nsub-p1\t4\n",
    "another word": "participant_id\tgroup\nsub-c1\thealthy\nsub-p1\tiph\n",
    "commas": "participant_id,group\nsub-c1,control\nsub-p1,iph\n",
    "surplus cell": "participant_id\tgroup\nsub-c1\tcontrol\t1\t2\nsub-p1\tiph\n",
    "a column twice": "participant_id\tgroup\tgroup\nsub-c1\tcontrol\tiph\nsub-p1\tiph\tiph\n",
    "no header": "sub-c1\tcontrol\nsub-p1\tiph\n",
    "zero bytes": "participant_id\tgroup\n\0\0\0\0",
    "empty": "",
    "blank": "\n\n\n",
    "open quote": 'participant_id\tgroup\nsub-c1\t"control\nsub-p1\tiph\n',
    "utf-16": "participant_id\tgroup\nsub-c1\tcontrol\nsub-p1\tiph\n".encode("utf-16"),
    "latin-1": "participant_id\tgroup\nsub-c1\tcontrol\nsub-p1\tM\xfcller\n".encode("latin-1"),
}
ENDLESS = ("fifo", "socket", "zero", "random", "folder", "nowhere")
PLACES = {
    "image": "sub-p1/ses-1/anat/sub-p1_ses-1_T1w.nii.gz",
    "sidecar": "sub-p1/ses-1/anat/sub-p1_ses-1_T1w.json",
    "shared sidecar": "T1w.json",
    "table": "participants.tsv",
    "visits": "sub-p1/sub-p1_sessions.tsv",
    "mask": "derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_T1w_desc-lung_mask.nii.gz",
    "data file": "sub-p1/ses-1/anat/voxels.raw",
    "label table": "derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_T1w_dseg.tsv",
}


def endless_files(lab, rng, count):
    """Pipes, sockets, devices, folders and broken links in every place where a file is read."""
    tally = Tally()
    cases = [(place, kind) for place in PLACES for kind in ENDLESS]
    folder = lab.cohort()
    for n in rng.permutation(len(cases))[:count]:
        place, kind = cases[n]
        root = folder / f"c{n}"
        _copy(folder / "cohort", root)
        path = root / PLACES[place]
        if place == "data file":
            image = root / PLACES["image"]
            image.unlink()
            image.with_name("sub-p1_ses-1_T1w.mhd").write_text(
                "NDims = 3\nDimSize = 9 9 9\nElementSpacing = 1 1 1\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
                "ElementType = MET_SHORT\nElementDataFile = voxels.raw\n"
            )
        if place == "label table":
            mask = root / PLACES["mask"]
            mask.rename(mask.with_name("sub-p1_ses-1_T1w_dseg.nii.gz"))
        put(path, kind)
        answer = lab.cli("check", root)
        named = path.name in answer["out"] + answer["err"]
        tally.count(f"{place} {kind}: {answer['err'][-200:]}", fell(answer) or ("" if named else "unheard"))
    return tally


def put(path, kind):
    """A thing that is no file, in the place of one."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's path may have a hundred letters at most
            made.bind(path.name)
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zero": "/dev/zero", "random": "/dev/urandom", "nowhere": "/nowhere/at/all"}[kind])


def odd_tables(lab, rng, count):
    """Tables of participants as spreadsheets and people leave them: read as meant, or said."""
    tally, names = Tally(), list(TABLES)
    folder = lab.analyzed()
    for n in rng.permutation(len(names))[:count]:
        text = TABLES[names[n]]
        (folder / "cohort/participants.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
        answer = lab.analyze(folder)
        outcome = fell(answer)
        if not outcome and answer["code"] == 0:
            controls = json.loads((folder / "out/reference.json").read_text())["controls"]
            kept = controls == ["sub-c1"]
            outcome = "" if kept or "participants.tsv" in answer["err"] else "unheard"
        elif not outcome:
            outcome = "" if "participants.tsv" in answer["err"] else "unheard"
        tally.count(f"{names[n]}: {answer['err'][-300:]}", outcome)
    return tally


def _cut(path, rng):
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, max(2, path.stat().st_size)))])


def _emptied(path, rng):
    path.write_bytes(b"")


def _zeroed(path, rng):
    path.write_bytes(bytes(path.stat().st_size))


def _flipped(path, rng):
    body = bytearray(path.read_bytes())
    body[rng.integers(len(body))] ^= 1 << int(rng.integers(7))
    path.write_bytes(body)


def _edited(path, rng):
    body = path.read_bytes()
    digits = [n for n, byte in enumerate(body) if 49 <= byte <= 57] or [0]
    at = digits[rng.integers(len(digits))]
    path.write_bytes(body[:at] + (b"-" if rng.integers(2) else b"9999") + body[at + 1 :])


def _renamed(path, rng):
    path.rename(path.with_name(f"old_{path.name}"))


def _removed(path, rng):
    path.unlink()


def _swapped(path, rng):
    text = path.read_bytes()
    path.write_bytes(text.replace(b"sub-c1", b"sub-zz") if b"sub-c1" in text else text[::-1])


def _to_folder(path, rng):
    path.unlink()
    path.mkdir()


def _to_pipe(path, rng):
    path.unlink()
    os.mkfifo(path)


def _latin(path, rng):
    path.write_bytes(b"\xff\xfe\xe4" + path.read_bytes())


HOWS = (_cut, _emptied, _zeroed, _flipped, _edited, _renamed, _removed, _swapped, _to_folder, _to_pipe, _latin)
OURS = (
    "measures.tsv", "measures.json", "readings.tsv", "findings.tsv", "failures.tsv", "reference.json", "protocol.toml",
    "acquisitions.tsv", "provenance.json", "dataset_description.json", "sub-p1/ses-1/sub-p1_ses-1_measures.tsv",
    "sub-p1/ses-1/sub-p1_ses-1_T1w_histogram.tsv", "sub-p1/ses-1/sub-p1_ses-1_T1w_desc-ratio_map.nii.gz",
    "sub-p1/ses-1/provenance.json", "sub-c1/ses-1/sub-c1_ses-1_T1w_desc-lung_mask.nii.gz",
    "sub-c1/ses-1/provenance.json", "sub-c1/ses-1/sub-c1_ses-1_measures.tsv",
)  # fmt: skip


def damaged_results(lab, rng, count):
    """Any file of a results folder damaged in any way: the next run gives what was there, and says so."""
    tally, reference = Tally(), lab.reference
    cases = [(name, how) for name in OURS for how in HOWS]
    for n in rng.permutation(len(cases))[:count]:
        name, how = cases[n]
        folder = lab.analyzed()
        path = folder / "out" / name
        if not path.exists():  # not written by this version
            continue
        how(path, rng)
        answer = lab.analyze(folder)
        outcome = fell(answer)
        if not outcome and not same(_less_users(contents(folder / "out"), path), reference):
            outcome = "silent" if answer["code"] == 0 else "unheard"
        said = (path.name, str(path.parent)) if name.startswith("sub-") else (path.name,)
        if not outcome and not any(word in answer["err"] for word in said):
            outcome = "unheard"
        tally.count(f"{name} {how.__name__}: {answer['err'][-300:]}", outcome)
    return tally


def _less_users(found, path):
    """Less what the damage itself left: a renamed file is the user's."""
    return {name: content for name, content in found.items() if not name.endswith(f"old_{path.name}")}


RUNS_OWN = ("sub-p1/.ses-1.lock", ".run.lock", ".cohort.lock", ".state", "sub-p1", "sub-p1/ses-1")


def runs_own(lab, rng, count):
    """Pipes, folders, links and files in place of what a run keeps for itself: kept aside, and the run ends as ever."""
    tally = Tally()
    cases = [(name, kind) for name in RUNS_OWN for kind in ("file", *ENDLESS)]
    for n in rng.permutation(len(cases))[:count]:
        name, kind = cases[n]
        folder = lab.analyzed()
        path = folder / "out" / name
        if path.is_dir():
            _remove(path)
        path.unlink(missing_ok=True)
        path.write_text("years of work") if kind == "file" else put(path, kind)
        answer = lab.analyze(folder, *ALONE)
        outcome = fell(answer)
        found = {place: text for place, text in contents(folder / "out").items() if not place.endswith(".lock")}
        if not outcome and not same(found, lab.reference):
            outcome = "lost"
        kept = [
            other for other in path.parent.glob(f"{path.name}*") if other.is_file() and _text(other) == "years of work"
        ]
        if not outcome and kind == "file" and not kept and not name.endswith(".lock"):
            outcome = "lost"
        tally.count(f"{name} {kind}: {answer['err'][-300:]}", outcome)
    return tally


def _gone(folder):
    _remove(folder)


def _linked(folder):
    folder.rename(folder.parents[2] / "moved")
    folder.symlink_to(folder.parents[2] / "moved")


def _of_another(folder):
    _remove(folder)
    _copy(folder.parents[1] / "sub-c1/ses-1", folder)


def _of_another_renamed(folder):
    _of_another(folder)
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("sub-c1", "sub-p1"))


def _image_gone(folder):
    (folder.parents[2] / "cohort" / PLACES["image"]).unlink()


def _without(part):
    def gone(folder):
        next(folder.glob(f"*{part}*")).unlink()

    gone.__name__ = f"without {part}"
    return gone


READERS = ("report", "share", "redcap", "checklist", "status", "explore")
TAKEN = (
    _image_gone, _gone, _linked, _of_another, _of_another_renamed, _without("lung_mask"), _without("ratio_map"),
    _without("histogram"), _without("_measures"), _without("provenance"),
)  # fmt: skip


def read_results(lab, rng, count):
    """Results of which a session is gone or another's, looked at before the next analysis: read, or refused by name."""
    tally = Tally()
    cases = [(how, reader) for how in TAKEN for reader in READERS]
    for n in rng.permutation(len(cases))[:count]:
        how, reader = cases[n]
        folder = lab.analyzed()
        how(folder / "out/sub-p1/ses-1")
        if reader == "explore":
            answer = lab.ask(explore=str(folder / "out"))
        else:
            made = () if reader == "status" else ("--out", folder / "made")
            answer = lab.cli(reader, folder / "out", *made)
        words = answer["err"] + answer["out"]
        named = answer["code"] == 0 or "sub-p1" in words
        tally.count(f"{how.__name__} {reader}: {words[-300:]}", fell(answer) or ("" if named else "unheard"))
    return tally


def users_files(lab, rng, count):
    """Files of the user's in a results folder outlive every new measurement."""
    tally = Tally()
    cases = [(where, what) for where in ("session", "subject", "root", "draft", "edited", "log") for what in (0, 1, 2)]
    for n in rng.permutation(len(cases))[:count]:
        where, what = cases[n]
        folder = lab.analyzed()
        session = folder / "out/sub-p1/ses-1"
        mark = f"years of work {n}"
        place = {
            "session": session / "notes.txt", "subject": session.parent / "figures/a.txt",
            "root": folder / "out/mine.txt",
            "draft": session.parent / ".draft-notes/a.txt", "edited": session / "sub-p1_ses-1_measures.tsv",
            "log": session / "log.txt",
        }[where]  # fmt: skip
        place.parent.mkdir(exist_ok=True)
        place.write_text((place.read_text() if place.exists() else "") + mark)
        if what == 0:  # measured again
            (folder / "cohort/sub-p1/ses-1/anat/sub-p1_ses-1_T1w.json").write_text('{"FlipAngle": 5}')
        elif what == 1:  # cannot be measured any more
            (folder / "cohort" / PLACES["image"]).write_bytes(b"damaged")
        else:  # gone
            _remove(folder / "cohort/sub-p1")
        answer = lab.analyze(folder)
        kept = [path for path in (folder / "out").rglob("*") if path.is_file() and mark in _text(path)]
        tally.count(f"{where} {what}: {answer['err'][-200:]}", fell(answer) or ("" if kept else "lost"))
    return tally


def sessions_gone(lab, rng, count):
    """Images unreadable since, data changed behind their header, sessions and subjects gone: no old row stays."""
    tally, makers = Tally(), [_image_cut, _image_piped, _session_gone, _subject_gone, _data_changed, _no_rights]
    for n in range(count):
        maker = makers[n % len(makers)]
        folder = lab.analyzed()
        answer, stale = maker(lab, folder)
        tally.count(f"{maker.__name__}: {answer['err'][-300:]}", fell(answer) or stale)
    return tally


def _rows(folder):
    return (folder / "out/measures.tsv").read_text()


def _image_cut(lab, folder):
    path = folder / "cohort" / PLACES["image"]
    path.write_bytes(path.read_bytes()[:900])
    answer = lab.analyze(folder)
    return answer, "silent" if "sub-p1" in _rows(folder) else "" if path.name in answer["err"] else "unheard"


def _image_piped(lab, folder):
    put(folder / "cohort" / PLACES["image"], "fifo")
    answer = lab.analyze(folder)
    named = "sub-p1_ses-1_T1w" in answer["err"] + (folder / "out/failures.tsv").read_text()
    return answer, "silent" if "sub-p1" in _rows(folder) else "" if named else "unheard"


def _session_gone(lab, folder):
    (folder / "cohort/sub-p1/ses-1").rename(folder / "cohort/sub-p1/ses-2")
    for path in (folder / "cohort/sub-p1/ses-2/anat").iterdir():
        path.rename(path.with_name(path.name.replace("ses-1", "ses-2")))
    answer = lab.analyze(folder)
    stays = "ses-1" in "".join(line for line in _rows(folder).splitlines() if "sub-p1" in line)
    return answer, "silent" if stays else _told(answer)


def _subject_gone(lab, folder):
    _remove(folder / "cohort/sub-p1")
    answer = lab.analyze(folder)
    return answer, "silent" if "sub-p1" in _rows(folder) else _told(answer)


def _told(answer):
    """Results that are gone from the cohort are in no table, and that they lie there is said."""
    return "" if "sub-p1/ses-1: results of a session that is no longer in the cohort" in answer["err"] else "unheard"


def _data_changed(lab, folder):
    import numpy as np
    import SimpleITK as sitk

    path = folder / "cohort" / PLACES["image"]
    image = sitk.ReadImage(str(path))
    path.unlink()
    header = path.with_name("sub-p1_ses-1_T1w.mhd")
    sitk.WriteImage(image, str(header))
    lab.analyze(folder)
    before = _rows(folder)
    raw = header.with_suffix(".raw")
    values = np.frombuffer(raw.read_bytes(), np.float32)
    raw.write_bytes((values * np.linspace(1, 3, values.size, dtype=np.float32)).astype(np.float32).tobytes())
    answer = lab.analyze(folder)
    return answer, "silent" if _rows(folder) == before else ""


def _no_rights(lab, folder):
    """As a user who may not open one subject's folder."""
    place = folder / "cohort/sub-p1"
    place.chmod(0)
    answer = lab.analyze(folder, plain=True)
    place.chmod(0o755)
    rows = _rows(folder)
    wrong = "sub-c1" not in rows or "sub-p1" in rows
    return answer, "lost" if wrong else "" if "sub-p1" in answer["err"] else "unheard"


def _text(path):
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _copy(source, target):
    import shutil

    shutil.copytree(source, target)


def _remove(folder):
    import shutil

    shutil.rmtree(folder)
