"""Whatever bytes, text or names are read: a value, or a refusal that names the file; nothing else, and soon."""

from __future__ import annotations

import time

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from images import MHA, NRRD  # noqa: E402

import ipha_toolkit as ipha  # noqa: E402
from ipha_toolkit.errors import IphaError, LayoutError, ProtocolError, ReadError  # noqa: E402
from ipha_toolkit.io import proof  # noqa: E402
from ipha_toolkit.io.files import read_json  # noqa: E402
from ipha_toolkit.io.layout import read_cohort  # noqa: E402
from ipha_toolkit.io.results import read_rows  # noqa: E402
from ipha_toolkit.io.tables import parse_table  # noqa: E402
from ipha_toolkit.protocol import DEFAULT, Protocol  # noqa: E402

LONGEST_S = 2.0
ENDINGS = (".nii", ".nii.gz", ".hdr", ".mha", ".mhd", ".nrrd", ".nhdr", ".png", ".jpg", ".dcm")
STARTS = (
    b"",
    MHA.encode(),
    NRRD.encode() + b"\n",
    b"\x5c\x01\x00\x00" + bytes(344),
    b"\x1f\x8b\x08",
    b"\x89PNG\r\n\x1a\n",
)
LABELS = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)


@pytest.fixture
def examples(request):
    """How many: ten thousand in the long form."""
    share = request.config.getoption("--faults-share")
    return max(1, round(10_000 * share)) if request.config.getoption("--faults") else 40


def every(examples, strategy, judge):
    """Judge many examples; each within its time."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def tried(example):
        begun = time.process_time()
        judge(example)
        assert time.process_time() - begun < LONGEST_S

    tried()


def refused_by_name(path, error):
    text = str(error)
    assert str(path) in text and "\n" not in text and len(text) < 2000


def edited(start):
    """A header's beginning with some bytes changed, and anything behind it."""
    change = st.lists(st.tuples(st.integers(0, max(0, len(start) - 1)), st.integers(0, 255)), max_size=6)
    return st.tuples(st.just(start), change, st.binary(max_size=600))


def test_images(tmp_path, examples):
    def judge(example):
        (start, changes, tail), ending = example
        content = bytearray(start)
        for at, byte in changes:
            if content:
                content[at] = byte
        path = tmp_path / f"sub-1_dx{ending}"
        path.write_bytes(bytes(content) + tail)
        try:
            assert ipha.load(path, modality="dx").array.size
        except ReadError as error:
            refused_by_name(path, error)

    every(examples, st.tuples(st.one_of(*map(edited, STARTS)), st.sampled_from(ENDINGS)), judge)


def test_tables(tmp_path, examples):
    path = tmp_path / "participants.tsv"
    cells = st.text(max_size=6) | st.sampled_from(["participant_id", "sub-1", "control", "7,5", '"', "\t", "\r", "89+"])
    lines = st.lists(st.lists(cells, max_size=4).map("\t".join), max_size=6).map("\n".join)

    def judge(content):
        path.write_bytes(content)
        try:
            table, remarks = parse_table(path)
            assert not table.isna().to_numpy().any() and all(isinstance(text, str) for text in remarks)
            assert all(str(cell).isprintable() for cell in table.to_numpy().ravel())
        except LayoutError as error:
            refused_by_name(path, error)

    every(examples, st.binary(max_size=200) | lines.map(lambda text: text.encode("utf-8", "replace")), judge)


def test_results_tables(tmp_path, examples):
    path = tmp_path / "measures.tsv"
    head = "subject\tsession\tmodality\tregion\tmeasure\tvalue\tunit\tn_voxels\tflag\n"

    def judge(content):
        path.write_bytes(content)
        try:
            assert read_rows(path)["value"].dtype == float
        except LayoutError as error:
            refused_by_name(path, error)

    texts = st.text(max_size=120).map(lambda text: (head + text).encode("utf-8", "replace"))
    every(examples, st.binary(max_size=200) | texts, judge)


def test_json(tmp_path, examples):
    path = tmp_path / "a.json"
    values = st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )

    def judge(content):
        import json

        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        assert proof.read_sealed(path) == {}
        try:
            assert isinstance(read_json(path), dict)
        except ReadError as error:
            refused_by_name(path, error)

    every(examples, st.binary(max_size=200) | values, judge)


def test_protocols(tmp_path, examples):
    sections = DEFAULT.to_toml().splitlines()
    lines = st.lists(st.sampled_from(sections) | st.text(max_size=30), max_size=8).map("\n".join)

    def judge(text):
        path = tmp_path / "protocol.toml"
        path.write_bytes(text.encode("utf-8", "replace"))
        try:
            assert Protocol.read(path).digest()
        except (ProtocolError, ReadError) as error:
            assert "\n" not in str(error).strip()

    every(examples, lines | st.text(max_size=60), judge)


def test_layouts(tmp_path, examples):
    suffix = st.sampled_from(["_T1w.nii.gz", "_ct.nii", "_dx.png", ".json", "_sessions.tsv", "_mask.nii.gz", ""])
    names = st.tuples(st.sampled_from(["sub-1", "SUB-1", "sub-1_ses-1", "x", ""]), LABELS, suffix).map("".join)
    folders = st.lists(
        st.sampled_from(["sub-1", "sub-1/ses-1", "sub-2/anat", "derivatives/t/sub-1", "."]) | LABELS, max_size=3
    )
    number = iter(range(10**9))

    def judge(example):
        places, files = example
        root = tmp_path / str(next(number))
        (root / "sub-1").mkdir(parents=True)
        for place in places:
            for name in files:
                path = root / place / name
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"x")
                except (OSError, ValueError):  # no name of this file system
                    continue
        try:
            cohort = read_cohort(root)
            assert all("\n" not in str(problem) and str(problem).isprintable() for problem in cohort.problems)
        except IphaError as error:
            assert str(root) in str(error)

    every(examples, st.tuples(folders, st.lists(names, max_size=3)), judge)
