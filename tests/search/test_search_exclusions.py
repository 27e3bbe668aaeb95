"""Excluded images have no effect on candidates, evidence and answer."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import random
from uuid import UUID

import numpy as np
import pytest

from media.pictures import saved
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Circle, Exclusions, Point, SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.settings import SearchSettings
from search import in_memory
from search.synthetic_views import view
from stack_fixtures import ServiceHarness

# Small numbers, so that an excluded image frees a slot for another.
SETTINGS = SearchSettings(candidates=6, oversampling=1, evidence_per_kind=2, evidence_radius_m=400)
COPY = 0.995
PLACES = 4


def comparable(answer):
    """Text of an answer without its timings, for comparison."""
    with np.printoptions(threshold=0):  # abbreviates the vectors
        return repr(dataclasses.replace(answer, timings_ms={}))


def shown_ids(answer):
    """Ids of all gallery rows that appear in an answer."""
    ids = {ranked.candidate.id for ranked in answer.ranked}
    ids |= {photo.id for ranked in answer.ranked for photo in ranked.evidence}
    return ids | {citation.image_id for citation in answer.citations}


QUERY = saved(view(0, 999), quality=95)


def ingest(harness, org, folder, photos, kind="photo"):
    """Ingest `(name, place, bytes, creator, sequence)` by a manifest, a place's within 300 m."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "latitude", "longitude", "creator", "sequence"])
        for number, (name, place, data, creator, sequence) in enumerate(photos):
            (folder / name).write_bytes(data)
            lat, lon = 40 + 0.02 * place + 1e-4 * (number % 17), -3 + 1e-4 * (number % 13)
            writer.writerow([name, lat, lon, creator, sequence])
    batch = harness.ingest(folder / "manifest.csv", org, source=folder.name, kind=kind)
    assert batch.indexed == len(photos)
    with harness.database.read(org) as catalog:
        items = catalog.batch_items(batch.id)
    return {item.file: item.image_ids[0] for item in items}


def unrelated_photos(prefix, count, place=None, creator="", sequence=""):
    """Photos that are not similar to the query, of one place or of all."""
    places = [number % PLACES if place is None else place for number in range(count)]
    return [
        (f"{prefix}{n}.jpg", p, saved(view(p, seed_of(prefix, n))), creator, sequence)
        for n, p in enumerate(places)
    ]


def seed_of(prefix, number):
    return int(hashlib.sha256(f"{prefix}{number}".encode()).hexdigest()[:8], 16)


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()


@pytest.fixture
def ask(harness):
    def ask(org, exclusions=None):
        return pipeline.locate(
            QueryPhoto(data=QUERY, file="q.jpg", kind="photo"),
            SearchFilter(),
            harness.search_context(org, settings=SETTINGS),
            exclusions=exclusions,
        )

    return ask


def test_exclusions_answer_equals_gallery_before_ingest(harness, ask, tmp_path):
    org = harness.organization()
    ingest(
        harness, org, tmp_path / "old", unrelated_photos("old", 32, creator="ann", sequence="walk")
    )
    ingest(
        harness,
        org,
        tmp_path / "street",
        unrelated_photos("street", 24, sequence="drive"),
        "street",
    )
    before = ask(org)

    # More copies than one request returns; all added images are more similar to the query.
    copies = [(f"copy{n}.jpg", n % PLACES, saved(view(0, 999), quality=60 + n)) for n in range(15)]
    added = {
        "hashes": [("own.jpg", 0, QUERY, "", "")],
        "near_duplicate_cosine": [(*copy, "", "") for copy in copies],
        "creators": unrelated_photos("max", 9, place=0, creator="max"),
        "sequences": unrelated_photos("tour", 9, place=0, sequence="tour"),
    }
    added_ids = {
        field: set(ingest(harness, org, tmp_path / field, photos).values())
        for field, photos in added.items()
    }
    everything = {
        "hashes": (hashlib.sha256(QUERY).hexdigest(),),
        "near_duplicate_cosine": COPY,
        "creators": ("max", "nobody"),
        "sequences": ("tour",),
    }

    assert comparable(ask(org, Exclusions(**everything))) == comparable(before)
    by_id = Exclusions(ids=tuple(set().union(*added_ids.values())))
    assert comparable(ask(org, by_id)) == comparable(before)
    assert comparable(ask(org, Exclusions())) == comparable(ask(org)) != comparable(before)
    for field in added:
        rest = {name: value for name, value in everything.items() if name != field}
        answer = ask(org, Exclusions(**rest))
        # The photo itself is one of its near-duplicates, and is excluded with them.
        shown_again = shown_ids(answer) & set().union(*added_ids.values())
        assert shown_again <= added_ids[field]
        assert bool(shown_again) == (field != "hashes")
    only_itself = ask(org, Exclusions(hashes=everything["hashes"]))
    assert added_ids["hashes"] <= shown_ids(ask(org))
    assert not added_ids["hashes"] & shown_ids(only_itself)
    assert added_ids["near_duplicate_cosine"] & shown_ids(only_itself)


def test_excluded_circle_answer_equals_gallery_without_its_images(harness, ask, tmp_path):
    org = harness.organization()
    far = [(f"far{n}.jpg", 9 + n % 3, saved(view(n, n + 50)), "", "") for n in range(12)]
    ingest(harness, org, tmp_path / "far", far)
    before = ask(org)
    near_ids = set(ingest(harness, org, tmp_path / "near", unrelated_photos("near", 24)).values())

    # Places 0 to 3 are within 7 km of 40.03, -3; places 9 to 11 are further than 16 km.
    circle = Circle(center=Point(40.03, -3.0), radius_m=10_000.0)
    assert comparable(ask(org, Exclusions(circle=circle))) == comparable(before)
    assert near_ids & shown_ids(ask(org))
    # A circle that cuts the evidence of a candidate, too.
    small = Circle(center=Point(40.0, -3.0), radius_m=60.0)
    shown = shown_ids(ask(org, Exclusions(circle=small)))
    with harness.database.read(org) as catalog:
        points = [image.point for image in catalog.images(sorted(shown)).values()]
    assert all(in_memory.haversine_to(point, small.center) > small.radius_m for point in points)
    assert shown & near_ids


def test_ids_by_returns_rows_of_own_organization_only(harness, tmp_path):
    ours, theirs = harness.organization(), harness.organization("birch")
    photos = [*unrelated_photos("a", 4, creator="max"), *unrelated_photos("b", 4, sequence="tour")]
    photos += [("own.jpg", 0, QUERY, "", ""), *unrelated_photos("c", 3, creator="ann")]
    criteria = {
        "hashes": [hashlib.sha256(QUERY).hexdigest()],
        "creators": ["max"],
        "sequences": ["tour"],
    }
    for org, folder in ((ours, "ours"), (theirs, "theirs")):
        ids_by_file = ingest(harness, org, tmp_path / folder, photos)
        expected = {image for file, image in ids_by_file.items() if not file.startswith("c")}
        for database in (harness.database, harness.operator):
            with database.read(org) as catalog:
                ids = catalog.ids_by(**criteria)
                assert len(ids) == len(expected) == 9
                assert set(ids) == expected
                assert catalog.ids_by(hashes=(), creators=(), sequences=()) == []


def test_exclusions_add_a_timed_stage(harness, ask, tmp_path):
    org = harness.organization()
    ingest(harness, org, tmp_path / "old", unrelated_photos("old", 4, creator="ann"))
    assert "exclude" not in ask(org).timings_ms
    answer = ask(org, Exclusions(creators=("ann",)))
    assert answer.timings_ms["exclude"] > 0
    assert (answer.point, answer.ranked, answer.credible_discs) == (None, (), ())


@pytest.mark.parametrize("seed", range(12))
def test_exclusions_answer_equals_reduced_gallery(seed):
    """Against the naive way: remove the rows from the gallery, then locate."""
    rng = random.Random(seed)
    points = in_memory.gallery(places=8, views=4)
    vector = in_memory.PixelEncoder().encode_query(in_memory.view_pixels(rng.randrange(8), 1))
    cosine = rng.choice([None, 0.9, 0.97, 0.999])
    ids = {p.id for p in rng.sample(points, rng.choice([0, 5, 40]))}
    # A near-duplicate outside the circle is no candidate, and still no evidence.
    middle = points[0].point
    circle = rng.choice([None, Circle(center=middle, radius_m=30_000 * rng.random())])
    limits = SearchFilter(circle=circle, source_kinds=rng.choice([(), ("photo",)]))
    area = rng.choice([None, Circle(center=middle, radius_m=40_000 * rng.random())])
    kept = [
        p
        for p in points
        if p.id not in ids
        and (cosine is None or float(p.vectors["image"] @ vector) < cosine)
        and (area is None or in_memory.haversine_to(p.point, area.center) > area.radius_m)
    ]

    def locate(gallery, exclusions):
        return pipeline.locate_encoded(
            vector,
            limits,
            in_memory.search_context(
                in_memory.NumpyIndex(gallery, in_memory.NumpyIndex(points).info()),
                in_memory.DictDatabase(gallery),
                settings=SETTINGS,
            ),
            exclusions=exclusions,
        )

    exclusions = Exclusions(ids=tuple(sorted(ids)), near_duplicate_cosine=cosine, circle=area)
    assert comparable(locate(points, exclusions)) == comparable(locate(kept, None))
    if ids or len(kept) < len(points):
        gone = {p.id for p in points} - {p.id for p in kept}
        assert not shown_ids(locate(points, exclusions)) & gone


def test_exclusions_of_many_copies_need_few_requests():
    points = in_memory.gallery(places=6, views=4)
    vector = in_memory.PixelEncoder().encode_query(in_memory.view_pixels(2, 1))
    original = points[2 * 8]
    copies = [
        dataclasses.replace(
            original, id=UUID(int=number), group=str(number), vectors={"image": vector}
        )
        for number in range(700)
    ]
    index = in_memory.NumpyIndex([*copies, *points])
    database = in_memory.DictDatabase([*copies, *points])
    answer = pipeline.locate_encoded(
        vector,
        SearchFilter(),
        in_memory.search_context(index, database, settings=SETTINGS),
        exclusions=Exclusions(near_duplicate_cosine=0.999),
    )
    assert len(answer.ranked) == SETTINGS.candidates
    assert not shown_ids(answer) & {copy.id for copy in copies}
    # Page by page it would be 700 / 6 requests, and as many reads of evidence.
    assert len(index.requests) <= 8
    assert database.log.count("evidence") == 1


@pytest.mark.parametrize("cosine", [0.0, -0.5, 1.01, float("nan")])
def test_exclusions_invalid_cosine_is_rejected(cosine):
    with pytest.raises(ValueError, match="must be in"):
        Exclusions(near_duplicate_cosine=cosine)


def test_top1_ranker_answers_most_similar_candidate():
    points = in_memory.gallery(places=6, views=3)
    vector = in_memory.PixelEncoder().encode_query(in_memory.view_pixels(2, 777))

    def locate(ranker):
        return pipeline.locate_encoded(
            vector,
            SearchFilter(),
            in_memory.search_context(
                in_memory.NumpyIndex(points), in_memory.DictDatabase(points), settings=SETTINGS
            ),
            ranker=ranker,
        )

    answer, voted = locate("top1"), locate("vote")
    best = max(points, key=lambda p: float(p.vectors["image"] @ vector))
    assert geodesic_m(answer.point, best.point) < 1e-3
    assert [ranked.weight for ranked in answer.ranked] == [1.0] + [0.0] * (SETTINGS.candidates - 1)
    assert [ranked.candidate.rank for ranked in answer.ranked] == list(range(SETTINGS.candidates))
    assert (answer.ranker, voted.ranker) == ("top1", "vote")
    similarities = {
        e.id: s for r in voted.ranked for e, s in zip(r.evidence, r.similarities, strict=True)
    }
    for ranked in answer.ranked:
        assert ranked.similarities == tuple(similarities[photo.id] for photo in ranked.evidence)
    assert isinstance(answer.point, Point)
