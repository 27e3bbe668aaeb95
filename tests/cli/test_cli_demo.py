"""Report lines and map of the demo for calibrated, uncalibrated and missing answers."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from PIL import Image

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.cli import demo_report
from pinpoint.records import Point
from pinpoint.synthetic.cities import nearest_city
from pinpoint.synthetic.dataset import PlanetQuery

TRUTH = Point(48.8566, 2.3522)
NEARBY = UUID(int=0xABCDEF12 << 96)


def make_query_photo():
    city = nearest_city(TRUTH)
    return PlanetQuery(path=Path("q.jpg"), point=TRUTH, kind="photo", role="test", city=city)


def make_answer(lat, lon, radius_m, *, within=None, abstained=None):
    """A locate answer as the API returns it."""
    cited = {
        **dict.fromkeys(("image_id", "source_id"), NEARBY),
        "role": "candidate",
        "file_name": "a.jpg",
        "nearest_place": {"name": "N", "region": "", "country": "FR", "distance_m": 1.0},
        "copies": [],
        "source": "s",
        "source_kind": "street",
        "license": "CC0-1.0",
        "attribution": None,
        "lat": lat,
        "lon": lon,
        "distance_m": 5.0,
        "similarity": 0.8,
        "thumbnail_url": "/t",
        "verification": None,
    }
    belief = within and {
        "probability_within_km": [{"radius_km": km, "probability": p} for km, p in within.items()],
        "credible_regions": [],
        "names": [],
        "p_outside_candidates": 0.1,
        "p_not_in_gallery": 0.2,
        "calibration_group": "all",
    }
    body = {
        "point": {"lat": lat, "lon": lon},
        "geometry": {"coordinates": (lon, lat)},
        "abstention_reason": abstained,
        "credible_discs": [{"probability": m, "radius_m": radius_m * m} for m in (0.5, 0.9)],
        "calibrated": within is not None,
        "calibration_note": "a note",
        "posterior": belief,
        "candidates": [],
        "num_candidates": 1,
        "coordinates": [],
        "warnings": [],
        "citations": {"street": [cited]},
        "bundle": {"name": "b", "digest": "d", "note": "n"},
        "ranker": "vote",
        "ranker_fallback_reason": None,
        "no_match_logit": None,
        "index": {"engine": "e", "build": None},
        "timings_ms": {"total": 12.4},
        "verified": False,
        "verification_threshold": None,
        "matches": None,
        "kept_query": None,
        "granularity": "exact",
        "place": None,
        "filters": {
            "source_kinds": [],
            "source_ids": [],
            "circle": None,
            "bbox": None,
            "num_polygons": 0,
            "countries": [],
            "captured_after": None,
            "captured_before": None,
        },
        "claims": [],
        "explanation": None,
    }
    return AnswerOut.model_validate(body).model_dump(mode="json")


def make_empty_answer():
    body = make_answer(0, 0, 0) | {
        "point": None,
        "geometry": None,
        "credible_discs": [],
        "citations": {},
    }
    body["abstention_reason"] = "no_candidates"
    return AnswerOut.model_validate(body).model_dump(mode="json")


@pytest.fixture
def report():
    answers = [
        make_answer(48.9, 2.3, 20_000, within={1: 0.1, 25: 0.834, 200: 0.9}),
        make_answer(
            48.9, 2.3, 20_000, within={1: 0.0, 25: 0.04, 200: 0.1}, abstained="not_in_gallery"
        ),
        make_answer(51.5, -0.1, 20_000),
        make_empty_answer(),
    ]
    counts = dict.fromkeys((*demo_report.NEW_STATES, *demo_report.LOST_STATES, "duplicate"), 0)
    return demo_report.summarize_demo(
        "http://x", [counts], [make_query_photo()] * len(answers), answers
    )


def test_demo_report_line_has_answer_radius_probability_and_ground_truth(report, capsys):
    demo_report.show_demo({**report, "map": "m.png", "try": ["curl x"]})
    sure, guess, blind, silent = (
        " ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:5]
    )
    near = f"48.9000, 2.3000 {nearest_city(Point(48.9, 2.3)).name}, FR"
    error_km = f"{report['photos'][0]['error_km']:.1f}"
    assert f"{near} {error_km} 18.0 83% inside 12 1 street abcdef12" in sure
    assert f"{near}, a guess {error_km} 18.0 4% inside 12" in guess
    assert " 18.0 uncalibrated outside 12" in blind
    assert silent.endswith("no answer – – – – – 12 0 –")
    assert report["summary"] == {
        "photos": 4, "within_1_km": 0, "within_25_km": 2, "inside_radius": 2
    }  # fmt: skip


def test_demo_map_has_a_color_for_each_kind_of_answer(report, tmp_path):
    demo_report.draw_map(report, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert "bundle b, ranker vote; radius: 90%" in image.info["Description"]
        pixels = np.asarray(image.convert("RGB")).astype(int)
    upper = pixels[: len(pixels) // 2]
    for red, green, blue in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):
        assert (np.abs(upper - (red, green, blue)).max(axis=-1) < 12).sum() > 10
