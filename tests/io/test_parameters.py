import pytest

from ipha_toolkit.io.parameters import as_default


@pytest.mark.parametrize(
    ("typed", "default", "value"),
    [
        ("002", "001", "002"),
        ("None", "none", "None"),
        ("1e5", "", "1e5"),
        ("20", 10, 20),
        ("None", None, None),
        ("/data/my cohort", None, "/data/my cohort"),
        ("['b', 3]", ["a"], ["b", 3]),
        ("(" * 500, 1, "(" * 500),
    ],
)
def test_a_value_becomes_what_the_notebooks_default_is(typed, default, value):
    assert as_default(typed, default) == value
