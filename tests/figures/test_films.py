import pytest

from ipha_toolkit.figures.core import alt_text
from ipha_toolkit.figures.films import plot_opacity_series
from ipha_toolkit.measure.rows import row, table


@pytest.mark.parametrize(
    ("opacity", "words"),
    [
        ([-0.6, 0.4, -0.3, -0.6], "whole lung cleared 0.9 days after the peak on day 1 (between 0 and 1)"),
        ([-0.6, 0.4, 0.4, 0.3], "not cleared by the last film, 2.0 days after the peak"),
        ([-0.6, -0.6, -0.6, -0.6], "no rise to clear"),
    ],
)
def test_the_line_is_the_measured_one_and_the_words_say_when_it_cleared(opacity, words):
    rows = table(
        row("film_opacity_mean", value, modality="dx", region=region, n_voxels=9) | {"session": f"s{n}"}
        for n, value in enumerate(opacity)
        for region in ("lung", "right_upper")
    )
    ax = plot_opacity_series(rows, {f"s{n}": float(n) for n in range(4)}, regions=["right_upper"])
    assert list(ax.lines[0].get_ydata()) == pytest.approx(opacity)
    assert words in alt_text(ax)
