import errno
import os
import resource

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import RoomError
from ipha_toolkit.io.outputs import write_json
from ipha_toolkit.io.room import no_room, room
from ipha_toolkit.volume import Volume


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_the_folder_and_the_room_needed(tmp_path, number):
    with pytest.raises(RoomError) as caught, room(tmp_path / "out" / "sub-1", 12_300_000):
        raise OSError(number, os.strerror(number))
    words = str(caught.value)
    what = "files may not grow any larger here" if number == errno.EFBIG else "the disk or the quota is full"
    assert words.startswith(f"{tmp_path}/out/sub-1: {what}: up to 12.3 MB are needed, ")
    assert words.endswith("are free there; make room and run it again, what is done stays")


def test_other_errors_of_the_system_pass(tmp_path):
    with pytest.raises(PermissionError), room(tmp_path, 1):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture
def files_of_one_block():
    """No file may grow beyond 4 kB, in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_half_written_is_left(tmp_path, files_of_one_block):
    image = Volume(np.random.default_rng(1).normal(size=(20, 20, 20)), np.eye(4), modality="T1w")
    with pytest.raises(RoomError, match="MB are needed"):
        ipha.save(image, tmp_path / "a_T1w.nii.gz")
    with pytest.raises(RoomError, match="MB are needed"):
        write_json(tmp_path / "a.json", {"text": "a" * 9999})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_room_needed_also_where_nobody_knows_what_was_to_come(tmp_path):
    assert "1 MB and more are needed" in str(no_room(tmp_path))
    assert "up to 2.5 GB are needed" in str(no_room(tmp_path, 2_500_000_000))
