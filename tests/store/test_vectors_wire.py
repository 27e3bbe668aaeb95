"""Frames say the same on both sides, and only whole frames are read."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_gallery import ORG_A, SOURCES, START, gallery
from pinpoint import errors
from pinpoint.records import Box, Circle, Hit, IndexFilter, IndexQuery, Point
from pinpoint.store.vectors.rpc import codec

places = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1826, 1, 1))
ids = st.uuids()
filters = st.builds(
    IndexFilter,
    organization_id=ids,
    source_kinds=st.tuples(st.sampled_from(["photo", "street"])),
    source_ids=st.lists(ids, max_size=3).map(tuple),
    circle=st.none() | st.builds(Circle, center=places, radius_m=st.floats(0, 1e7)),
    box=st.none()
    | st.builds(Box, **{edge: st.floats(-90, 90) for edge in ("south", "west", "north", "east")}),
    polygon=st.lists(places, max_size=5).map(tuple),
    captured_after=st.none() | times,
    captured_before=st.none() | times,
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
    return codec.decode(codec.encode(fields, arrays))


@given(filters)
def test_filters_survive(where):
    assert codec.convert(over({"f": where})[0]["f"], IndexFilter) == where


@given(hits)
def test_hits_survive(hit):
    assert codec.convert(over({"h": hit})[0]["h"], Hit) == hit


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_vectors_survive_bit_by_bit_whatever_width_they_travel_in(values):
    vector = np.array(values, dtype=np.float32)
    _, (back,) = over({}, [vector])
    np.testing.assert_array_equal(back, vector)
    assert back.dtype == np.float32


def test_half_precision_is_used_where_it_loses_nothing():
    half = np.ones((100, 512), np.float32) / 4
    full = half + 1e-5
    assert len(codec.encode({}, [half])) < 0.6 * len(codec.encode({}, [full]))


def test_points_and_queries_survive():
    points = gallery(20)
    points.append(points[3].__class__(**{**fields_of(points[3]), "vectors": {}}))
    back = codec.unpack_points(*over(*codec.pack_points(points)))
    for one, two in zip(points, back, strict=True):
        assert {**fields_of(one), "vectors": None} == {**fields_of(two), "vectors": None}
        assert one.vectors.keys() == two.vectors.keys()
        for name, vector in one.vectors.items():
            np.testing.assert_array_equal(two.vectors[name], vector)
    where = IndexFilter(organization_id=ORG_A, source_ids=tuple(SOURCES), captured_after=START)
    queries = [
        IndexQuery(channel="gps", vector=p.vectors["gps"], filter=where, limit=n + 1, exact=n == 0)
        for n, p in enumerate(points[:3])
    ]
    asked = codec.unpack_queries(*over(*codec.pack_queries(queries)))
    for sent, received in zip(queries, asked, strict=True):
        assert (sent.channel, sent.filter) == (received.channel, received.filter)
        assert (sent.limit, sent.exact) == (received.limit, received.exact)
        np.testing.assert_array_equal(sent.vector, received.vector)


def fields_of(point) -> dict:
    return {name: getattr(point, name) for name in point.__slots__}


@given(st.binary(max_size=200))
def test_noise_is_refused_in_one_way(noise):
    with contextlib.suppress(errors.BadRequestError):  # any other exception fails the test
        codec.decode(noise)


@given(st.data())
def test_a_frame_cut_or_lengthened_anywhere_is_refused(data):
    frame = codec.encode({"verb": "x"}, [np.ones(7, np.float32)])
    cut = data.draw(st.integers(0, len(frame) - 1))
    for broken in (frame[:cut], frame + b"\x00"):
        with pytest.raises(errors.BadRequestError):
            codec.decode(broken)


def test_a_frame_over_the_limit_is_not_sent():
    with pytest.raises(errors.TooLargeError):
        codec.encode({"noise": b"x" * codec.MAX_FRAME})


def test_every_error_of_the_tree_comes_back_as_itself():
    tree = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in tree:
        if issubclass(kind, errors.PinpointError):
            sent = over(codec.pack_error(kind("what was wrong", reason="some_word")))[0]
            with pytest.raises(errors.PinpointError) as caught:
                codec.raise_error(sent["error"])
            assert type(caught.value) is kind
            assert (caught.value.reason, caught.value.message) == ("some_word", "what was wrong")
    with pytest.raises(errors.IndexUnavailableError):
        codec.raise_error(["SystemExit", "x", "y"])


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(errors.BadRequestError):
        codec.check_aware_time(datetime(2020, 1, 1))
    far = START + timedelta(microseconds=1)
    assert over({"at": far})[0]["at"] == far


def test_convert_value_of_another_shape_raises_value_error():
    (point,), where = gallery(1), IndexFilter(organization_id=ORG_A)
    fields, arrays = over(*codec.pack_points([point]))
    (row,) = fields["points"]
    for wrong in ({"kind": "drone"}, {"id": b"short"}, {"point": [1, 2]}, {"version": 1.5}):
        with pytest.raises(ValueError, match=r"at `\$\[0\]"):
            codec.unpack_points({**fields, "points": [row | wrong]}, arrays)
    with pytest.raises(ValueError, match="without its vectors"):
        codec.unpack_points({**fields, "channels": []}, [])
    with pytest.raises(errors.BadRequestError, match="no zone"):
        codec.unpack_points(
            {**fields, "points": [row | {"captured_at": "2020-01-01T00:00:00"}]}, arrays
        )
    with pytest.raises(errors.BadRequestError, match="no zone"):
        codec.check_filter(dataclasses.replace(where, captured_after=datetime(2020, 1, 1)))
    with pytest.raises(TypeError, match="object cannot be sent"):
        codec.encode({"ids": object()})
