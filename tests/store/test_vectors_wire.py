"""Frames say the same on both sides, and only whole frames are read."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_gallery import ORG_A, SOURCES, START, gallery
from pinpoint import errors
from pinpoint.records import Box, Circle, Hit, IndexFilter, IndexQuery, Point
from pinpoint.store.vectors.rpc import codec as wire

places = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1826, 1, 1))
ids = st.uuids()
filters = st.builds(
    IndexFilter,
    organization_id=ids,
    kinds=st.tuples(st.sampled_from(["photo", "street"])),
    source_ids=st.lists(ids, max_size=3).map(tuple),
    circle=st.none() | st.builds(Circle, center=places, radius_m=st.floats(0, 1e7)),
    box=st.none()
    | st.builds(Box, **{edge: st.floats(-90, 90) for edge in ("south", "west", "north", "east")}),
    polygon=st.lists(places, max_size=5).map(tuple),
    since=st.none() | times,
    until=st.none() | times,
    exclude_ids=st.lists(ids, max_size=3).map(tuple),
    exclude_groups=st.lists(st.text(max_size=10), max_size=3).map(tuple),
)
hits = st.builds(
    Hit,
    id=ids,
    score=st.floats(-1, 1),
    version=st.integers(0, 2**53 - 1),
    source_id=ids,
    kind=st.sampled_from(["photo", "street"]),
    point=places,
    captured_at=st.none() | times,
    group=st.text(max_size=40),
)


def over(fields, arrays=()):
    return wire.decode(wire.encode(fields, arrays))


@given(filters)
def test_filters_survive(where):
    assert wire.unpack_filter(over({"f": wire.pack_filter(where)})[0]["f"]) == where


@given(hits)
def test_hits_survive(hit):
    assert wire.unpack_hit(over({"h": wire.pack_hit(hit)})[0]["h"]) == hit


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_vectors_survive_bit_by_bit_whatever_width_they_travel_in(values):
    vector = np.array(values, dtype=np.float32)
    _, (back,) = over({}, [vector])
    np.testing.assert_array_equal(back, vector)
    assert back.dtype == np.float32


def test_half_precision_is_used_where_it_loses_nothing():
    half = np.ones((100, 512), np.float32) / 4
    full = half + 1e-5
    assert len(wire.encode({}, [half])) < 0.6 * len(wire.encode({}, [full]))


def test_points_and_queries_survive():
    points = gallery(20)
    points.append(points[3].__class__(**{**fields_of(points[3]), "vectors": {}}))
    back = wire.unpack_points(*over(*wire.pack_points(points)))
    for one, two in zip(points, back, strict=True):
        assert {**fields_of(one), "vectors": None} == {**fields_of(two), "vectors": None}
        assert one.vectors.keys() == two.vectors.keys()
        for name, vector in one.vectors.items():
            np.testing.assert_array_equal(two.vectors[name], vector)
    where = IndexFilter(organization_id=ORG_A, source_ids=tuple(SOURCES), since=START)
    queries = [
        IndexQuery(channel="gps", vector=p.vectors["gps"], filter=where, limit=n + 1, exact=n == 0)
        for n, p in enumerate(points[:3])
    ]
    asked = wire.unpack_queries(*over(*wire.pack_queries(queries)))
    for sent, received in zip(queries, asked, strict=True):
        assert (sent.channel, sent.filter) == (received.channel, received.filter)
        assert (sent.limit, sent.exact) == (received.limit, received.exact)
        np.testing.assert_array_equal(sent.vector, received.vector)


def fields_of(point) -> dict:
    return {name: getattr(point, name) for name in point.__slots__}


@given(st.binary(max_size=200))
def test_noise_is_refused_in_one_way(noise):
    with contextlib.suppress(errors.BadRequestError):  # any other exception fails the test
        wire.decode(noise)


@given(st.data())
def test_a_frame_cut_or_lengthened_anywhere_is_refused(data):
    frame = wire.encode({"verb": "x"}, [np.ones(7, np.float32)])
    cut = data.draw(st.integers(0, len(frame) - 1))
    for broken in (frame[:cut], frame + b"\x00"):
        with pytest.raises(errors.BadRequestError):
            wire.decode(broken)


def test_a_frame_over_the_limit_is_not_sent():
    with pytest.raises(errors.TooLargeError):
        wire.encode({"noise": b"x" * wire.MAX_FRAME})


def test_every_error_of_the_tree_comes_back_as_itself():
    tree = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in tree:
        if issubclass(kind, errors.PinpointError):
            sent = over(wire.pack_error(kind("what was wrong", reason="some_word")))[0]
            with pytest.raises(errors.PinpointError) as caught:
                wire.raise_error(sent["error"])
            assert type(caught.value) is kind
            assert (caught.value.reason, caught.value.message) == ("some_word", "what was wrong")
    with pytest.raises(errors.IndexUnavailableError):
        wire.raise_error(["SystemExit", "x", "y"])


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(errors.BadRequestError):
        wire.pack_time(datetime(2020, 1, 1))
    far = START + timedelta(microseconds=1)
    assert wire.unpack_time(wire.pack_time(far)) == far
