"""H3 cells as whole numbers that PostgreSQL can hold."""

from __future__ import annotations

import h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.geo.cells import RESOLUTIONS, cell_ids, cells_of
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point

places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(st.lists(places, max_size=8))
def test_cell_ids_any_positions_equal_h3(positions):
    ids = cell_ids(np.array(positions).reshape(-1, 2))
    assert ids.dtype == np.int64
    assert ids.shape == (len(positions), 3)
    assert (ids > 0).all()
    slow = [[h3.str_to_int(h3.latlng_to_cell(*p, r)) for r in RESOLUTIONS] for p in positions]
    assert ids.tolist() == slow
    for position, row in zip(positions, slow, strict=True):
        cells = cells_of(Point(*position))
        assert [cells.r5, cells.r7, cells.r9] == row
        assert all(type(cell) is int for cell in (cells.r5, cells.r7, cells.r9))


def test_cell_ids_both_antimeridian_longitudes_are_equal():
    ids = cell_ids(np.array([[12.0, 180.0], [12.0, -180.0]]))
    assert ids[0].tolist() == ids[1].tolist()


def test_cell_ids_at_poles_ignore_longitude():
    ids = cell_ids(np.array([[90.0, 0.0], [90.0, 120.0], [-90.0, -45.0]]), resolutions=(7,))
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("bad", [(np.nan, 0), (0, np.inf), (90.1, 0), (0, -180.1)])
def test_cell_ids_invalid_position_is_rejected_with_its_index(bad):
    with pytest.raises(ValueError, match="position 1 "):
        cell_ids(np.array([(0.0, 0.0), bad, bad]))


def test_cells_of_point_is_within_an_edge_of_the_cell_center():
    point = Point(48.8584, 2.2945)
    cells = cells_of(point)
    for cell, edge_m in [(cells.r5, 9_900), (cells.r7, 1_410), (cells.r9, 201)]:
        assert geodesic_m(Point(*h3.cell_to_latlng(h3.int_to_str(cell))), point) < 1.2 * edge_m
