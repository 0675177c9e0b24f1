"""Where DICOM files are: folders, zip files, disks with a DICOMDIR."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.pixels import quiet

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class Source:
    """Where a DICOM file is: a path, or a member of the zip file at that path."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def folder(self) -> str:
        """Folder it lies in."""
        return str(Path(f"{self.path}/{self.member}").parent if self.member else self.path.parent)

    def content(self) -> bytes:
        """All bytes of the file."""
        return _archive(self.path).read(self.member) if self.member else self.path.read_bytes()

    def dataset(self) -> Dataset:
        """The whole file, with pixels.

        Raises
        ------
        ReadError
            Where it cannot be read.
        """
        from pydicom import dcmread

        with quiet():
            try:
                return dcmread(io.BytesIO(self.content()) if self.member else self.path, force=True)
            except Exception as error:  # damaged headers raise whatever they like
                raise ReadError(f"{self}: the DICOM header is damaged ({error}); export it again") from None


def files_below(root: Path) -> Iterator[Source]:
    """All files of a folder, a zip file or a DICOMDIR, in order of their names.

    Raises
    ------
    ReadError
        Where the source is missing, an encrypted zip file, or a DICOMDIR lists files that are not there.
    """
    if not root.exists():
        raise ReadError(f"{root}: no such file or folder; give the folder, disk or zip file that holds the DICOM files")
    paths = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    for path in paths:
        if path.name.upper() == "DICOMDIR":
            _require_listed(path, {str(other.relative_to(path.parent)).lower() for other in _below(path.parent)})
            if root == path:
                yield from (Source(other) for other in _below(path.parent) if other != path)
        elif zipfile.is_zipfile(path):
            yield from _members(path)
        else:
            yield Source(path)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _members(path: Path) -> Iterator[Source]:
    for member in _archive(path).infolist():
        if member.flag_bits & 1:
            raise ReadError(f"{path}: is an encrypted zip file; unpack it with its password and give the folder")
        if not member.is_dir() and Path(member.filename).name.upper() != "DICOMDIR":
            yield Source(path, member.filename)


@lru_cache(maxsize=4)
def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _require_listed(path: Path, there: set[str]) -> None:
    """Refuse a DICOMDIR whose files were not copied with it."""
    from pydicom import dcmread

    try:
        with quiet():
            records = dcmread(path).get("DirectoryRecordSequence") or []
    except Exception as error:
        raise ReadError(f"{path}: the DICOMDIR is damaged ({error}); give the folder of images beside it") from None
    named = [record.ReferencedFileID for record in records if record.get("ReferencedFileID")]
    listed = [os.path.join(*([name] if isinstance(name, str) else list(name))) for name in named]  # noqa: PTH118
    missing = [name for name in listed if name.lower() not in there]
    if missing:
        raise ReadError(
            f"{path}: lists {len(listed)} files, of which {len(missing)} are not there, for example {missing[0]}; copy "
            "the whole disk, or give the folder of the images that are there"
        )
