"""Faults of image files: flipped bits, cut ends, headers that lie, bytes of any kind."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
from lab import Tally

MHA = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 2 2 2
DimSize = 12 11 10
HeaderSize = 0
ElementNumberOfChannels = 1
DistanceUnits = mm
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 12 11 10
space directions: (2,0,0) (0,2,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
byte skip: 0
space origin: (0,0,0)
space units: "mm" "mm" "mm"
"""
VALUES = (
    "", "-1", "0", "nan", "inf", "1e400", "-1 -1 -1", "0 0 0", "nan nan nan", "99999 99999 99999", "2147483648",
    "1e-300 1 1", "%n%n%s%d.raw 1 9 1", "%s%s%s", "../../etc/passwd", "/dev/zero", "LIST", "A" * 70_000, "\x1b[31mred",
    "12 11", "12 11 10 9", "(0,0,0) (0,0,0) (0,0,0)", "none none none", "True", "MET_FLOAT_ARRAY", "\udcff",
)  # fmt: skip
NIFTI = {
    "sizeof_hdr": (0, "i", (0, -1, 349, 2**31 - 1)), "dim": (40, "h", (-1, 0, 8, 4, 32767)),
    "nx": (42, "h", (-1, 0, 32767)), "nz": (46, "h", (-5, 0, 32767)),
    "datatype": (70, "h", (0, 1, 128, 1792, 9999, -3)),
    "bitpix": (72, "h", (0, 1, -8)), "dx": (80, "f", (0.0, -1.0, np.nan, np.inf, 1e30, 1e-30)),
    "vox_offset": (108, "f", (-1.0, 0.0, 1e9, np.nan, np.inf)), "slope": (112, "f", (np.nan, np.inf, 1e38)),
    "inter": (116, "f", (np.nan, np.inf, -1e38)), "units": (123, "B", (0, 1, 3, 7, 255)),
    "qform": (252, "h", (-1, 99)), "sform": (254, "h", (-1, 99)), "srow": (280, "f", (np.nan, np.inf, 0.0, 1e30)),
    "magic": (344, "4s", (b"ni1\0", b"n+9\0", b"\0\0\0\0")), "extension": (348, "4s", (b"\1\0\0\0", b"\xff" * 4)),
}  # fmt: skip


def voxels(seed=0):
    """A CT of air and tissue with noise."""
    values = np.random.default_rng(seed).normal(0, 20, (24, 22, 20)) - 900
    values[4:20, 4:18, :] += 940
    return values.astype(np.float32)


def damaged_bytes(lab, rng, count):
    """Bits flipped and ends cut of compressed images: refused, or read as they were."""
    import ipha_toolkit as ipha
    from ipha_toolkit.volume import Volume

    tally, folder = Tally(), lab.new()
    for ending in (".nii.gz", ".mha", ".nrrd"):
        whole = folder / f"whole_ct{ending}"
        ipha.save(Volume(voxels(), np.diag([2.0, 2, 2, 1]), modality="ct", unit="HU"), whole)
        content, right = whole.read_bytes(), lab.ask(load=str(whole), modality="ct")
        for n in range(count // 3):
            body = bytearray(content)
            if n % 4:
                body[rng.integers(600, len(body))] ^= 1 << int(rng.integers(8))
            else:
                body = body[: rng.integers(400, len(body))]
            path = folder / f"sub-{n}_ct{ending}"
            path.write_bytes(body)
            answer = lab.ask(load=str(path), modality="ct")
            tally.count(f"{path.name} {n}", _read(answer, path, right["out"]))
            path.unlink()
    return tally


def lying_headers(lab, rng, count):
    """Header fields of every kind of nonsense: read, or refused in one line that names the file."""
    tally, folder = Tally(), lab.new()
    cases = [*_text_cases(), *_nifti_cases(folder)]
    chosen = rng.permutation(len(cases))[:count]
    for n in chosen:
        name, content = cases[n]
        path = folder / f"sub-{n}_{name}"
        path.write_bytes(content)
        tally.count(f"{path.name} {content[:400]!r}", _read(lab.ask(load=str(path), modality="ct"), path))
        path.unlink()
    return tally


def random_bytes(lab, rng, count):
    """The beginnings of headers, and behind them anything."""
    tally, folder = Tally(), lab.new()
    starts = [MHA.encode(), NRRD.encode() + b"\n", _nifti(folder), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b""]
    for n in range(count):
        start = bytearray(starts[n % len(starts)])
        for _ in range(rng.integers(0, 6)):
            if start:
                start[rng.integers(len(start))] = rng.integers(256)
        ending = (".mha", ".nrrd", ".nii", ".png", ".jpg", ".dcm")[n % 6]
        path = folder / f"sub-{n}_dx{ending}"
        path.write_bytes(bytes(start) + rng.bytes(int(rng.integers(0, 4000))))
        tally.count(path.name, _read(lab.ask(load=str(path), modality="dx"), path))
        path.unlink()
    return tally


def _read(answer, path, right=None):
    """How reading ended."""
    if answer["code"] == "hung":
        return "hung"
    if answer["code"] < 0:
        return "killed"
    if answer["code"] == 0:
        return "silent" if right is not None and answer["out"] != right else ""
    if answer["code"] == 4:
        return "traceback"
    text = answer["out"].strip()
    return "" if path.name in text and "\n" not in text else "unheard"


def _text_cases():
    body = np.zeros((12, 11, 10), np.int16).tobytes()
    for text, ending, sign, tail in (
        (MHA, "ct.mha", " = ", ""),
        (MHA, "ct.mhd", " = ", ""),
        (NRRD, "ct.nrrd", ": ", "\n"),
    ):
        lines = text.splitlines()
        for n, line in enumerate(lines):
            for value in VALUES:
                name = line.partition(sign.strip())[0].strip()
                changed = [*lines[:n], f"{name}{sign}{value}", *lines[n + 1 :]]
                yield ending, ("\n".join(changed) + "\n" + tail).encode("utf-8", "surrogateescape") + body
            yield ending, ("\n".join([*lines[:n], *lines[n + 1 :]]) + "\n" + tail).encode() + body


def _nifti(folder):
    path = folder / "plain.nii"
    nib.save(nib.Nifti1Image(voxels().astype(np.int16), np.diag([2.0, 2, 2, 1])), path)
    content = path.read_bytes()
    path.unlink()
    return content


def _nifti_cases(folder):
    plain = _nifti(folder)
    for at, kind, values in NIFTI.values():
        for value in values:
            content = bytearray(plain)
            struct.pack_into(f"<{kind}", content, at, value)
            yield "ct.nii", bytes(content)
