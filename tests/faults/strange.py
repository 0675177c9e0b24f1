"""Faults that no form holds: what people, programs and disks leave in a cohort, around it, and around a command."""

from __future__ import annotations

import bz2
import gzip
import os
import resource
import struct
import subprocess
import sys
import zlib

from lab import ALONE, LONG, Tally, contents, fell, same

IMAGE = "sub-p1/ses-1/anat/sub-p1_ses-1_T1w.nii.gz"
MASK = "derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_T1w_desc-lung_mask.nii.gz"


def _changed(path, change):
    path.write_bytes(change(path.read_bytes()))


def _nifti(change):
    """A change of the NIfTI within the gzip stream."""

    def of(body):
        plain = bytearray(gzip.decompress(body))
        return gzip.compress(bytes(change(plain) or plain), 1)

    return of


def _packed(kind, at, value):
    return _nifti(lambda body: struct.pack_into(kind, body, at, *(value if isinstance(value, tuple) else (value,))))


def _voxels(change):
    import numpy as np

    def of(body):
        values = np.frombuffer(bytes(body[352:]), np.float32).copy()
        return bytes(body[:352]) + np.asarray(change(values), np.float32).tobytes()

    return _nifti(of)


def _some(values, at, value):
    values[at] = value
    return values


def _member(body):
    half = len(plain := gzip.decompress(body)) // 2
    return gzip.compress(plain[:half]) + gzip.compress(plain[half:])


def _wrong_length(body):
    return body[:-4] + struct.pack("<I", 77)


PAGE = b"<!DOCTYPE html><html><body>Please sign in to download sub-p1_T1w.nii.gz</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
BYTES = {  # what is done to the image, and whether it may be measured as before
    "gzip member of junk behind": (lambda body: body + gzip.compress(b"junk" * 500), False),
    "bytes of junk behind": (lambda body: body + b"\x07junk" * 50, False),
    "gzip in two members": (_member, True),
    "zeros behind": (lambda body: body + bytes(512), True),
    "gzip's length wrong": (_wrong_length, False),
    "not compressed": (gzip.decompress, True),
    "compressed twice": (lambda body: gzip.compress(body), False),
    "bzip2 by a gzip name": (lambda body: bz2.compress(gzip.decompress(body)), False),
    "zlib by a gzip name": (lambda body: zlib.compress(gzip.decompress(body)), False),
    "only a gzip head": (lambda body: body[:10], False),
    "a page of a portal": (lambda _: PAGE, False),
    "a page of a portal, gzipped": (lambda _: gzip.compress(PAGE), False),
    "a pointer of Git LFS": (lambda _: POINTER, False),
    "one byte": (lambda _: b"\x1f", False),
    "grows without end": (lambda body: gzip.compress(gzip.decompress(body) + bytes(300_000_000), 1), False),
    "other byte order, header only": (_nifti(lambda body: bytes(body[:40][::-1]) + bytes(body[40:])), False),
    "half of the voxels not a number": (_voxels(lambda v: _some(v, slice(0, v.size // 2), float("nan"))), False),
    "all voxels not a number": (_voxels(lambda v: v * float("nan")), False),
    "all voxels infinite": (_voxels(lambda v: v * 0 + float("inf")), False),
    "all voxels negative": (_voxels(lambda v: -1 - v), False),
    "one voxel 1e14": (_voxels(lambda v: _some(v, 20_000, 1e14)), True),
    "all voxels times 1e13": (_voxels(lambda v: v * 1e13), False),
    "all voxels times 1e-30": (_voxels(lambda v: v * 1e-30), False),
    "denormal voxels": (_voxels(lambda v: v * 1e-42), False),
    "values of text": (_voxels(lambda v: v.view("i4") * 0 + 1.5e9), False),
    "voxel of 0.049 mm": (_packed("<4f", 76, (1.0, 0.049, 8, 8)), False),
    "spacing by header, place lost": (_packed("<2h", 252, (0, 0)), False),
    "a singular place": (_packed("<12f", 280, (8, 0, 0, 0, 8, 0, 0, 0, 0, 0, 8, 0)), False),
    "a sheared place": (_packed("<12f", 280, (8, 6, 0, 0, 0, 8, 0, 0, 0, 0, 8, 0)), False),
    "place and spacing differ": (_packed("<12f", 280, (2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0)), False),
    "scale 0 and offset": (_packed("<2f", 112, (0.0, 55.0)), False),
    "scale negative": (_packed("<2f", 112, (-1.0, 0.0)), False),
    "two volumes": (_packed("<5h", 40, (4, 40, 30, 17, 2)), False),
    "seven axes": (_packed("<8h", 40, (7, 40, 30, 34, 1, 1, 1, 1)), True),
    "complex by its header": (_packed("<2h", 70, (32, 64)), False),
    "RGB by its header": (_packed("<2h", 70, (128, 24)), False),
    "one bit by its header": (_packed("<2h", 70, (1, 1)), False),
    "integers by its header": (_packed("<2h", 70, (8, 32)), False),
    "extension that runs over": (_packed("<4s2i", 348, (b"\1\0\0\0", 9**9, 6)), True),
}  # fmt: skip
SIDECARS = {  # text, and whether all that a scan would say in it is there
    "null": ("null", False), "a list": ("[1, 2]", False), "a number": ("7", False), "a word": ('"T1w"', False),
    "empty": ("", False), "blank": (" \n", False), "cut": ('{"FlipAngle": 5, "Echo', False),
    "a number of 6,000 figures": ('{"EchoTime": ' + "9" * 6000 + "}", False),
    "comments": ('{"FlipAngle": 5} // by hand', False), "two objects": ('{"FlipAngle": 5}{"FlipAngle": 6}', False),
    "half a letter": ('{"SeriesDescription": "\\ud800"}', True),
    "keys twice": ('{"FlipAngle": 5, "FlipAngle": 90}', True),
    "a key of none": ('{"": {"": {"": [[[[]]]]}}}', True), "a byte order mark": ('\ufeff{"FlipAngle": 5}', True),
    "no numbers": ('{"EchoTime": NaN, "FlipAngle": Infinity, "MagneticFieldStrength": 1e999}', False),
    "an echo time in words": ('{"EchoTime": "4.6 ms", "RepetitionTime": [], "FlipAngle": {}}', False),
    "a list of 200,000": ('{"EchoTime": [' + "0.1," * 200_000 + "0.1]}", False),
    "true for numbers": ('{"EchoTime": true, "MagneticFieldStrength": false}', False),
    "an echo time in ms": ('{"EchoTime": 4.6}', False),
    "a field of 1e300": ('{"MagneticFieldStrength": 1e300, "EchoTime": -1e300, "FlipAngle": 1e300}', False),
}  # fmt: skip


def odd_bytes(lab, rng, count):
    """An image or mask mistaken or damaged as a whole, or a sidecar: measured as before, or named; the rest goes on."""
    tally = Tally()
    cases = [*(("image", name) for name in BYTES), *(("mask", name) for name in list(BYTES)[:16])]
    cases += [("sidecar", name) for name in SIDECARS]
    whole = _rows(lab.analyzed())
    for n in rng.permutation(len(cases))[:count]:
        what, name = cases[n]
        folder = lab.cohort()
        path = folder / "cohort" / (MASK if what == "mask" else IMAGE)
        if what == "sidecar":
            path = path.with_name(path.name.replace(".nii.gz", ".json"))
            path.write_bytes(SIDECARS[name][0].encode("utf-8", "surrogatepass"))
        else:
            _changed(path, BYTES[name][0])
        answers = [lab.cli("check", folder / "cohort"), lab.analyze(folder, *ALONE)]
        outcome = next(filter(None, map(fell, answers)), "")
        rows = _rows(folder)
        if not outcome and whole["sub-c1"] != rows["sub-c1"]:
            outcome = "lost"
        known = (SIDECARS if what == "sidecar" else BYTES)[name][1]
        told = path.name in answers[1]["err"] and answers[1]["code"] == 1
        flagged = "missing" in rows["sub-p1"] or "noise_not" in rows["sub-p1"] or "not_believed" in rows["sub-p1"]
        if not outcome and not (rows["sub-p1"] == whole["sub-p1"] or told or known or flagged):
            outcome = "silent"
        tally.count(f"{what}, {name}: {answers[1]['code']} {answers[1]['err'][-500:]}", outcome)
    return tally


def _rows(folder):
    """Rows of both subjects before they were set against each other, as text."""
    tables = {
        subject: list((folder / "out" / subject).glob("ses-1/*_measures.tsv")) for subject in ("sub-c1", "sub-p1")
    }
    return {subject: "".join(path.read_text() for path in paths) for subject, paths in tables.items()}


def _bounded(kind, most):
    return {"preexec_fn": lambda: resource.setrlimit(kind, (most, most))}


def _closed():
    read, write = os.pipe()
    os.close(read)
    return write


ANALYZE = ("analyze", "{}/cohort", "--out", "{}/out", "-q", "--workers", "1")
TWO = (*ANALYZE[:-1], "2")
FULL = {"stdout": "/dev/full"}
COMMANDS = {  # words, how it is started, and the status asked: None for any of 0, 1, 2 with a word where it is not 0
    "analyze, no room for its words": (ANALYZE, FULL, 2),
    "analyze, no room for any word": (ANALYZE, {"stdout": "/dev/full", "stderr": "/dev/full"}, 2),
    "analyze, nobody listens": (ANALYZE, {"stdout": _closed}, 0),
    "check, no room for its words": (("check", "{}/cohort", "-q"), FULL, 2),
    "check, nobody listens": (("check", "{}/cohort", "-q"), {"stdout": _closed}, 0),
    "no standard output": (ANALYZE, {"preexec_fn": lambda: os.close(1)}, 0),
    "no standard error": (ANALYZE[:-3], {"preexec_fn": lambda: os.close(2)}, 0),
    "no stream at all": (TWO, {"preexec_fn": lambda: [os.close(n) for n in (0, 1, 2)]}, 0),
    "files of 20 kB at most": (TWO, _bounded(resource.RLIMIT_FSIZE, 20_000), None),
    "files of nothing": (ANALYZE, _bounded(resource.RLIMIT_FSIZE, 0), None),
    "12 files open": (ANALYZE, _bounded(resource.RLIMIT_NOFILE, 12), None),
    "40 files open": (TWO, _bounded(resource.RLIMIT_NOFILE, 40), None),
    "1.5 GB of addresses": (TWO, _bounded(resource.RLIMIT_AS, 1_500_000_000), None),
    "folder of temporary files nowhere": (TWO, {"env": {"TMPDIR": "/nowhere/x"}}, 0),
    "threads in words": (TWO, {"env": {"OMP_NUM_THREADS": "junk", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "0"}}, 0),
    "a terminal of no columns": (ANALYZE[:-3], {"env": {"COLUMNS": "0", "LINES": "-1"}}, 0),
    "a language nobody knows": (TWO, {"env": {"LC_ALL": "xx_YY.junk", "PYTHONIOENCODING": "ascii"}}, 0),
    "no time zone": (ANALYZE, {"env": {"TZ": ":/dev/zero"}}, 0),
    "warnings are errors": (ANALYZE, {"env": {"PYTHONWARNINGS": "error"}}, 0),
    "no docstrings, no asserts": (TWO, {"env": {"PYTHONOPTIMIZE": "2"}}, 0),
    "an empty home": (ANALYZE, {"env": {"HOME": ""}}, 0),
    "a folder that is gone": (ANALYZE, {"gone": True}, 2),
    "rights for nobody": (TWO, {"preexec_fn": lambda: os.umask(0o777)}, 0),
    "no workers": ((*ANALYZE[:-1], "0"), {}, 2),
    "workers in words": ((*ANALYZE[:-1], "many"), {}, 2),
    "out: nothing": (("analyze", "{}/cohort", "--out", "", "-q"), {}, 2),
    "out: a device": (("analyze", "{}/cohort", "--out", "/dev/null", "-q"), {}, 2),
    "out: of the system": (("analyze", "{}/cohort", "--out", "/proc/1/x", "-q"), {}, 2),
    "out: a root": (("analyze", "{}/cohort", "--out", "/", "-q"), {}, 2),
    "out: a long name": (("analyze", "{}/cohort", "--out", "{}/" + "a" * 300, "-q"), {}, 2),
    "out: a name of two lines": (("analyze", "{}/cohort", "--out", "{}/x\ny", "-q"), {}, None),
    "out: a subject": (("analyze", "{}/cohort", "--out", "{}/cohort/sub-p1", "-q"), {}, 2),
    "out: a session": (("analyze", "{}/cohort", "--out", "{}/cohort/sub-p1/ses-1/out", "-q"), {}, 2),
    "out: a new subject": (("analyze", "{}/cohort", "--out", "{}/cohort/sub-new", "-q"), {}, 2),
    "out: masks of others": (("analyze", "{}/cohort", "--out", "{}/cohort/derivatives/hand", "-q"), {}, 2),
    "out: derivatives": (("analyze", "{}/cohort", "--out", "{}/cohort/derivatives", "-q"), {}, 2),
    "out: above the cohort": (("analyze", "{}/cohort", "--out", "{}", "-q"), {}, 2),
    "protocol: an image": ((*ANALYZE, "--protocol", "{}/cohort/" + IMAGE), {}, 2),
    "protocol: endless": ((*ANALYZE, "--protocol", "/dev/zero"), {}, 2),
    "protocol: a folder": ((*ANALYZE, "--protocol", "{}/cohort"), {}, 2),
    "log: a folder": ((*ANALYZE, "--log", "{}/cohort"), {}, 2),
    "log: no room": ((*ANALYZE, "--log", "/dev/full"), {}, None),
    "log: nowhere": ((*ANALYZE, "--log", "{}/nowhere/a.log"), {}, 2),
    "log: an image": ((*ANALYZE, "--log", "{}/cohort/" + IMAGE), {}, 2),
    "cohort: an image": (("analyze", "{}/cohort/" + IMAGE, "--out", "{}/out", "-q"), {}, 2),
    "cohort: a device": (("check", "/dev/zero"), {}, 2),
    "cohort: the system": (("check", "/proc/self"), {}, None),
    "report of a cohort": (("report", "{}/cohort", "--out", "{}/r.html"), {}, 2),
    "report in place of an image": (("report", "{}/cohort", "--out", "{}/cohort/" + IMAGE), {}, 2),
    "status of an image": (("status", "{}/cohort/" + IMAGE), {}, 2),
    "share of nothing": (("share", "{}/cohort", "--out", "{}/s.zip"), {}, 2),
    "pool of an image": (("pool", "{}/cohort/" + IMAGE, "--out", "{}/pooled"), {}, 2),
    "ratings of an image": (("ratings", "merge", "{}/cohort/" + IMAGE, "--out", "{}/r.tsv"), {}, 2),
    "simulate into the cohort": (("simulate", "--out", "{}/cohort", "--subjects", "1", "-q"), {}, 2),
    "simulate nobody": (("simulate", "--out", "{}/sim", "--subjects", "0", "-q"), {}, 2),
    "import of nowhere": (("import", "{}/nowhere", "--out", "{}/imported", "-q"), {}, 2),
    "masks of an image": (("import-masks", "{}/cohort/" + IMAGE, "--cohort", "{}/cohort"), {}, 2),
}


def odd_commands(lab, rng, count):
    """A command with odd words, streams, limits, surroundings: what was asked, or a plain refusal; nothing is lost."""
    tally = Tally()
    names = list(COMMANDS)
    for n in rng.permutation(len(names))[:count]:
        words, how, asked = COMMANDS[names[n]]
        folder = lab.cohort()
        before = _held(folder)
        code, said = _command(lab, folder, [word.replace("{}", str(folder)) for word in words], dict(how))
        outcome = "hung" if code is None else fell({"code": code, "out": said, "err": ""})
        if not outcome and code not in ((0, 1, 2) if asked is None else (asked,)):
            outcome = "unheard" if code != 120 else "traceback"
        if not outcome and code and not said.strip() and how.get("stderr") is None:
            outcome = "unheard"
        if not outcome and any(_held(folder).get(path) != held for path, held in before.items()):
            outcome = "lost"
        if not outcome and asked == 0 and "{}/out" in words and not same(contents(folder / "out"), lab.reference):
            outcome = "lost"
        tally.count(f"{names[n]}: {code} {said[-400:]}", outcome)
    return tally


def _held(folder):
    return {path: path.read_bytes() for path in (folder / "cohort").rglob("*") if path.is_file()}


def _command(lab, folder, words, how):
    """Status of a command, None where it hung, and what was said; streams as they are without a terminal."""
    environment = {name: text for name, text in lab.environment.items() if name != "PYTHONUNBUFFERED"}
    place = folder / "gone"
    place.mkdir()
    if how.pop("gone", False):
        how["preexec_fn"] = lambda: place.rmdir()
    streams = {}
    for name in ("stdout", "stderr"):
        given = how.pop(name, None)
        streams[name] = given() if callable(given) else os.open(given, os.O_WRONLY) if given else subprocess.PIPE
    environment |= how.pop("env", {})
    command = [sys.executable, "-c", lab.main, *words]
    try:
        done = subprocess.run(
            command, env=environment, cwd=place, stdin=subprocess.DEVNULL, text=True, timeout=LONG, **streams, **how
        )
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        for stream in streams.values():
            if stream != subprocess.PIPE:
                os.close(stream)
    return done.returncode, (done.stdout or "") + (done.stderr or "")
