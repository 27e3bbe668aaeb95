"""Precedence of layers: the highest layer wins, in any order of events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pinpoint.records import (
    FIELDS,
    LAYERS,
    ImageUpdate,
    Layer,
    Point,
    clear_fields,
    describe_manual_conflicts,
    merge_layers,
    update_layers,
    values_agree,
)
from pinpoint.store.catalog.corrections import correct_layers
from pinpoint.store.catalog.layer_json import layers_from_json, layers_to_json, origins_of_row

TEXTS = st.text("abé\u65e5 ", min_size=1, max_size=5)
NUMBERS = st.floats(-1e4, 1e4)
POINTS = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
VALUES = {
    "position": POINTS,
    "captured_at": TIMES,
    "heading_deg": st.floats(0, 359),
    "field_of_view_deg": st.floats(1, 360),
    "altitude_m": NUMBERS,
    "creator": TEXTS,
    "sequence": TEXTS,
    "license": TEXTS,
    "panorama_id": TEXTS,
}
LAYER = st.fixed_dictionaries({}, optional=VALUES).map(lambda values: Layer(**values))
STACK = st.dictionaries(st.sampled_from(LAYERS), LAYER)


@given(STACK)
def test_merge_layers_takes_highest_layer_value(layers):
    merged = merge_layers(layers)
    for name in FIELDS:
        layers_with_value = [
            layer for layer in LAYERS if getattr(layers.get(layer), name, None) is not None
        ]
        if not layers_with_value:
            assert getattr(merged, name) is None
            assert name not in merged.sources
            continue
        assert getattr(merged, name) == getattr(layers[layers_with_value[0]], name)
        is_track = layers_with_value[0] == "track" and name == "position"
        assert merged.sources[name] == ("gpx" if is_track else layers_with_value[0])


@given(STACK)
def test_merge_layers_differing_values_add_warning(layers):
    merged = merge_layers(layers)
    for name in FIELDS:
        values = [
            getattr(layers[layer], name)
            for layer in LAYERS
            if layer in layers and layer != "track" and getattr(layers[layer], name) is not None
        ]
        differ = any(not values_agree(values[0], other) for other in values[1:])
        warnings = [text for text in merged.warnings if text.startswith(f"{name}: ")]
        assert bool(warnings) == differ


@given(STACK)
def test_layers_json_round_trip_is_equal(layers):
    stored = json.loads(json.dumps(layers_to_json(layers)))
    assert layers_from_json(stored) == layers


@given(STACK)
def test_origins_of_row_equal_sources_of_merged_layers(layers):
    row = SimpleNamespace(field_layers=layers_to_json(layers) or {"file": {}})
    assert origins_of_row(row) == merge_layers(layers).sources


@given(LAYER, LAYER, LAYER, st.permutations(["plain", "manifest", "manual", "again"]))
def test_update_layers_any_order_gives_same_result(file, manifest, manual, events):
    layers = {}
    for event in events:
        if event == "manual":
            layers = {**layers, "manual": manual}
        else:
            given_now = {"file": file} | ({"manifest": manifest} if event == "manifest" else {})
            layers = update_layers(layers, given_now, same_bytes=True)
    expected = merge_layers({"manual": manual, "manifest": manifest, "file": file})
    assert merge_layers(layers) == expected


@given(STACK, LAYER)
def test_update_layers_without_manifest_keeps_external_layers(stored, file):
    for same_bytes in (True, False):
        after = update_layers(stored, {"file": file}, same_bytes=same_bytes)
        for layer in ("manual", "manifest", "sidecar"):
            assert after.get(layer, Layer()) == stored.get(layer, Layer())
        kept = stored.get("track", Layer()) if same_bytes else Layer()
        assert after.get("track", Layer()) == kept


@given(STACK, POINTS)
def test_correct_layers_set_then_cleared_restores_next_value(stored, point):
    below = {name: layer for name, layer in stored.items() if name != "manual"}
    before = {**below, "file": Layer(position=Point(1, 2))}
    corrected = correct_layers(before, ImageUpdate(point=point))
    assert merge_layers(corrected).position == point
    assert merge_layers(corrected).position_source == "manual"
    cleared = correct_layers(corrected, ImageUpdate(clear=frozenset({"position"})))
    assert merge_layers(cleared).position == merge_layers(before).position


def test_clear_fields_position_clears_its_source():
    layer = Layer(position=Point(1, 2), position_source="manual", creator="ann")
    assert clear_fields(layer, frozenset({"position"})) == Layer(creator="ann")


def test_describe_manual_conflicts_omits_equal_values():
    manual = Layer(position=Point(10, 180), captured_at=datetime(2024, 1, 1, tzinfo=UTC))
    same = Layer(position=Point(10.0000004, -180), captured_at=datetime(2024, 1, 1, tzinfo=UTC))
    assert describe_manual_conflicts(manual, same) == []
    other = Layer(position=Point(10, 20), creator="bob")
    assert describe_manual_conflicts(manual, other) == [
        "position: set manually; kept (the manifest gives 10.000000, 20.000000)"
    ]
