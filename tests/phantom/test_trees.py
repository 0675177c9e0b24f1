"""Branching trees and the capsules they are drawn with."""

import numpy as np
import pytest

from ipha_toolkit.phantom.trees import MURRAY_EXPONENT, draw_capsules, grow_tree


def test_every_supply_point_is_reached_and_radii_follow_murrays_law():
    rng = np.random.default_rng(1)
    points = rng.uniform(-40, 40, (60, 3))
    tree = grow_tree([0, 0, 0], points, 0.5, rng)
    ends = tree[np.isclose(tree[:, 6], 0.5), 3:6]
    assert all(np.linalg.norm(ends - point, axis=1).min() < 1e-9 for point in points)
    assert tree[:, 6].max() == pytest.approx(0.5 * 60 ** (1 / MURRAY_EXPONENT))


def test_a_drawn_ball_holds_its_volume():
    capsule = np.array([[0.3, -0.2, 0.1, 0.3, -0.2, 0.1, 9.0]])
    drawn = draw_capsules((40, 40, 20), (-20, -20, -20), (1, 1, 2), capsule)
    assert drawn.sum() * 2 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)


def test_a_rod_thinner_than_a_voxel_fills_the_share_of_its_cross_section():
    rod = np.array([[0.0, 0, -60, 0, 0, 60, 0.6]])
    drawn = draw_capsules((21, 21, 21), (-20, -20, -20), (2, 2, 2), rod)
    assert drawn[:, :, 10].sum() * 4 == pytest.approx(np.pi * 0.6**2, rel=0.25)
    assert drawn.max() < 0.5


def test_nothing_drawn_outside_the_grid():
    assert draw_capsules((5, 5, 5), (0, 0, 0), (1, 1, 1), np.array([[90.0, 90, 90, 99, 99, 99, 3]])).max() == 0
