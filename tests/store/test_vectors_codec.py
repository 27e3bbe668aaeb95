"""Frames are equal after a round trip, and only complete frames are read."""

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
from pinpoint.records import Box, Circle, Hit, IndexFilter, IndexQuery, Point, Polygon
from pinpoint.store.vectors.rpc import codec

points_strategy = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
times_strategy = st.datetimes(timezones=st.just(UTC), min_value=datetime(1826, 1, 1))
ids_strategy = st.uuids()
rings_strategy = st.lists(points_strategy, max_size=5).map(tuple)
polygons_strategy = st.builds(
    Polygon, exterior=rings_strategy, holes=st.lists(rings_strategy, max_size=2).map(tuple)
)
filters_strategy = st.builds(
    IndexFilter,
    organization_id=ids_strategy,
    source_kinds=st.tuples(st.sampled_from(["photo", "street"])),
    source_ids=st.lists(ids_strategy, max_size=3).map(tuple),
    circle=st.none() | st.builds(Circle, center=points_strategy, radius_m=st.floats(0, 1e7)),
    box=st.none()
    | st.builds(Box, **{edge: st.floats(-90, 90) for edge in ("south", "west", "north", "east")}),
    polygons=st.lists(polygons_strategy, max_size=3).map(tuple),
    captured_after=st.none() | times_strategy,
    captured_before=st.none() | times_strategy,
    exclude_ids=st.lists(ids_strategy, max_size=3).map(tuple),
    exclude_groups=st.lists(st.text(max_size=10), max_size=3).map(tuple),
)
hits_strategy = st.builds(
    Hit,
    id=ids_strategy,
    score=st.floats(-1, 1),
    version=st.integers(0, 2**53 - 1),
    source_id=ids_strategy,
    kind=st.sampled_from(["photo", "street"]),
    point=points_strategy,
    captured_at=st.none() | times_strategy,
    group=st.text(max_size=40),
)


def round_trip(fields, arrays=()):
    return codec.decode(codec.encode(fields, arrays))


@given(filters_strategy)
def test_codec_filters_round_trip(where):
    assert codec.convert(round_trip({"f": where})[0]["f"], IndexFilter) == where


@given(hits_strategy)
def test_codec_hits_round_trip(hit):
    assert codec.convert(round_trip({"h": hit})[0]["h"], Hit) == hit


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_codec_vectors_round_trip_bit_exact(values):
    vector = np.array(values, dtype=np.float32)
    _, (decoded,) = round_trip({}, [vector])
    np.testing.assert_array_equal(decoded, vector)
    assert decoded.dtype == np.float32


def test_encode_lossless_vectors_uses_half_precision():
    half = np.full((100, 512), 0.25, dtype=np.float32)
    full = (half + 1e-5).astype(np.float32)
    assert len(codec.encode({}, [half])) < 0.6 * len(codec.encode({}, [full]))


def test_codec_points_and_queries_round_trip():
    points = gallery(20)
    points.append(points[3].__class__(**{**fields_of(points[3]), "vectors": {}}))
    decoded = codec.unpack_points(*round_trip(*codec.pack_points(points)))
    for sent_point, received_point in zip(points, decoded, strict=True):
        assert {**fields_of(sent_point), "vectors": None} == {
            **fields_of(received_point),
            "vectors": None,
        }
        assert sent_point.vectors.keys() == received_point.vectors.keys()
        for name, vector in sent_point.vectors.items():
            np.testing.assert_array_equal(received_point.vectors[name], vector)
    where = IndexFilter(organization_id=ORG_A, source_ids=tuple(SOURCES), captured_after=START)
    queries = [
        IndexQuery(channel="gps", vector=p.vectors["gps"], filter=where, limit=n + 1, exact=n == 0)
        for n, p in enumerate(points[:3])
    ]
    received_queries = codec.unpack_queries(*round_trip(*codec.pack_queries(queries)))
    for sent, received in zip(queries, received_queries, strict=True):
        assert (sent.channel, sent.filter) == (received.channel, received.filter)
        assert (sent.limit, sent.exact) == (received.limit, received.exact)
        np.testing.assert_array_equal(sent.vector, received.vector)


def fields_of(point) -> dict:
    return {name: getattr(point, name) for name in point.__slots__}


@given(st.binary(max_size=200))
def test_decode_noise_raises_only_bad_request(noise):
    with contextlib.suppress(errors.BadRequestError):  # any other exception fails the test
        codec.decode(noise)


@given(st.data())
def test_decode_cut_or_lengthened_frame_raises(data):
    frame = codec.encode({"verb": "x"}, [np.ones(7, np.float32)])
    cut_at = data.draw(st.integers(0, len(frame) - 1))
    for damaged in (frame[:cut_at], frame + b"\x00"):
        with pytest.raises(errors.BadRequestError):
            codec.decode(damaged)


def test_encode_frame_over_limit_raises():
    with pytest.raises(errors.TooLargeError):
        codec.encode({"noise": b"x" * codec.MAX_FRAME})


def test_raise_error_restores_every_error_class():
    error_classes = [
        error_class for error_class in vars(errors).values() if isinstance(error_class, type)
    ]
    for error_type in error_classes:
        if issubclass(error_type, errors.PinpointError):
            sent = round_trip(codec.pack_error(error_type("what was wrong", reason="some_word")))[0]
            with pytest.raises(errors.PinpointError) as caught:
                codec.raise_error(sent["error"])
            assert type(caught.value) is error_type
            assert (caught.value.reason, caught.value.message) == ("some_word", "what was wrong")
    with pytest.raises(errors.IndexUnavailableError):
        codec.raise_error(["SystemExit", "x", "y"])


def test_check_aware_time_naive_time_raises():
    with pytest.raises(errors.BadRequestError):
        codec.check_aware_time(datetime(2020, 1, 1))
    microsecond_time = START + timedelta(microseconds=1)
    assert round_trip({"at": microsecond_time})[0]["at"] == microsecond_time


def test_unpack_points_of_another_shape_raises_value_error():
    (point,), where = gallery(1), IndexFilter(organization_id=ORG_A)
    fields, arrays = round_trip(*codec.pack_points([point]))
    (row,) = fields["points"]
    for changed_field in ({"kind": "drone"}, {"id": b"short"}, {"point": [1, 2]}, {"version": 1.5}):
        with pytest.raises(ValueError, match=r"at `\$\[0\]"):
            codec.unpack_points({**fields, "points": [row | changed_field]}, arrays)
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
