import itertools
import re

import pytest

from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.protocol import Protocol


def test_a_protocol_survives_its_file(tmp_path):
    path = tmp_path / "protocol.toml"
    path.write_text(Protocol().to_toml(), encoding="utf-8")
    assert Protocol.read(path) == Protocol()


def test_one_changed_line_changes_one_setting_and_the_digest():
    changed = Protocol.from_toml("[attenuation]\nconsolidation_hu = -200\n")
    assert changed.attenuation.consolidation_hu == -200.0
    assert changed.attenuation.ground_glass_hu == Protocol().attenuation.ground_glass_hu
    assert changed.digest() != Protocol().digest()


def test_every_setting_says_what_it_means_and_where_it_comes_from():
    lines = Protocol().to_toml().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"\w+ = ", line):
            assert before.startswith("#") and "Source: " in before, line


@pytest.mark.parametrize(
    "text, message",
    [
        ("[attenuation]\nconsolidation = -200", r"\[attenuation\] has no setting consolidation; there are: "),
        ("[lung]\nvessels = true", r"no section \[lung\]; there are: lungs"),
        ("[attenuation]\nconsolidation_hu = 'dense'", "needs a float like -300.0, got 'dense'"),
        ("[attenuation]\nground_glass_hu = [-700]", "needs 2 values"),
        ("vessels = ", "not a TOML file"),
        ("lungs = 3", r"no section \[lungs\]|needs"),
    ],
)
def test_a_protocol_that_cannot_be_meant_is_refused(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError, match=message) as caught:
        Protocol.read(path)
    assert "mine.toml" in str(caught.value)


def test_a_missing_protocol_is_named(tmp_path):
    with pytest.raises(ProtocolError, match=r"nowhere\.toml"):
        Protocol.read(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("place", ["/dev/zero", "{}", "{}/nowhere.toml", "{}/bytes.toml", "{}/large.toml"])
def test_what_is_no_protocol_is_refused_unread_in_words(tmp_path, place):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\x00")
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(20_000_000_000)
    with pytest.raises(ProtocolError, match=r"no such file|no text in UTF-8|has a few kB") as caught:
        Protocol.read(place.replace("{}", str(tmp_path)))
    assert "Errno" not in str(caught.value)
