import errno
import os

import pytest

from ipha_toolkit.errors import ReadError, RoomError, in_words


@pytest.mark.parametrize("error", [ReadError("a: is empty"), RoomError("b: is full"), ValueError("c"), OSError("d")])
def test_our_own_words_stay(error):
    assert in_words(error) == str(error)


def test_the_systems_words_name_the_file_and_the_mend():
    text = in_words(PermissionError(errno.EACCES, "Permission denied", "/a/measures.tsv"))
    assert text == "/a/measures.tsv: you may not read or write it; change its rights, or give another place"


def test_a_draft_stands_for_its_folder():
    assert in_words(OSError(errno.EROFS, "Read-only", "/a/.t.tsv.ipha-1.draft")).startswith("/a: lies on a disk")


def test_what_has_no_words_here_keeps_the_systems():
    assert in_words(OSError(errno.EDEADLK, os.strerror(errno.EDEADLK), b"/a")) == f"/a: {os.strerror(errno.EDEADLK)}"
