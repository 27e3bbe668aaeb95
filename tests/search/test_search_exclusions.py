"""What is excluded is as if it had never been in the gallery: candidates, evidence and answer."""

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
from search.views import view
from stack_fixtures import ServiceHarness

# Few of each, so that whoever is left out makes room for another.
SETTINGS = SearchSettings(candidates=6, oversampling=1, evidence_per_kind=2, evidence_radius_m=400)
COPY = 0.995
PLACES = 4


def same(answer):
    """An answer without its timings, to compare."""
    with np.printoptions(threshold=0):  # abbreviates the vectors
        return repr(dataclasses.replace(answer, timings_ms={}))


def shown(answer):
    """Ids of every gallery row that had a part in an answer."""
    found = {each.candidate.id for each in answer.ranked}
    found |= {photo.id for each in answer.ranked for photo in each.evidence}
    return found | {each.image_id for each in answer.citations}


QUESTION = saved(view(0, 999), quality=95)


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


def crowd(prefix, count, place=None, creator="", sequence=""):
    """Photos that nobody confuses with the question, of one place or of all."""
    places = [number % PLACES if place is None else place for number in range(count)]
    return [
        (f"{prefix}{n}.jpg", p, saved(view(p, hash_of(prefix, n))), creator, sequence)
        for n, p in enumerate(places)
    ]


def hash_of(prefix, number):
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
            QueryPhoto(data=QUESTION, file="q.jpg", kind="photo"),
            SearchFilter(),
            harness.search_context(org, settings=SETTINGS),
            exclusions=exclusions,
        )

    return ask


def test_excluded_rows_are_as_if_they_had_never_come(harness, ask, tmp_path):
    org = harness.organization()
    ingest(harness, org, tmp_path / "old", crowd("old", 32, creator="ann", sequence="walk"))
    ingest(harness, org, tmp_path / "street", crowd("street", 24, sequence="drive"), "street")
    before = ask(org)

    # More copies than one request brings; whatever came late looks more like the question.
    copies = [(f"copy{n}.jpg", n % PLACES, saved(view(0, 999), quality=60 + n)) for n in range(15)]
    late = {
        "hashes": [("own.jpg", 0, QUESTION, "", "")],
        "near_duplicate_cosine": [(*copy, "", "") for copy in copies],
        "creators": crowd("max", 9, place=0, creator="max"),
        "sequences": crowd("tour", 9, place=0, sequence="tour"),
    }
    came = {
        field: set(ingest(harness, org, tmp_path / field, photos).values())
        for field, photos in late.items()
    }
    everything = {
        "hashes": (hashlib.sha256(QUESTION).hexdigest(),),
        "near_duplicate_cosine": COPY,
        "creators": ("max", "nobody"),
        "sequences": ("tour",),
    }

    assert same(ask(org, Exclusions(**everything))) == same(before)
    by_id = Exclusions(ids=tuple(set().union(*came.values())))
    assert same(ask(org, by_id)) == same(before)
    assert same(ask(org, Exclusions())) == same(ask(org)) != same(before)
    for field in late:
        rest = {name: value for name, value in everything.items() if name != field}
        answer = ask(org, Exclusions(**rest))
        # The photo itself is one of its copies, and goes with them.
        came_back = shown(answer) & set().union(*came.values())
        assert came_back <= came[field]
        assert bool(came_back) == (field != "hashes")
    only_itself = ask(org, Exclusions(hashes=everything["hashes"]))
    assert came["hashes"] <= shown(ask(org))
    assert not came["hashes"] & shown(only_itself)
    assert came["near_duplicate_cosine"] & shown(only_itself)


def test_rows_to_exclude_are_the_own_organizations_only(harness, tmp_path):
    ours, theirs = harness.organization(), harness.organization("birch")
    photos = [*crowd("a", 4, creator="max"), *crowd("b", 4, sequence="tour")]
    photos += [("own.jpg", 0, QUESTION, "", ""), *crowd("c", 3, creator="ann")]
    asked = {
        "hashes": [hashlib.sha256(QUESTION).hexdigest()],
        "creators": ["max"],
        "sequences": ["tour"],
    }
    for org, folder in ((ours, "ours"), (theirs, "theirs")):
        named = ingest(harness, org, tmp_path / folder, photos)
        wanted = {image for file, image in named.items() if not file.startswith("c")}
        for database in (harness.database, harness.operator):
            with database.read(org) as catalog:
                found = catalog.ids_by(**asked)
                assert len(found) == len(wanted) == 9
                assert set(found) == wanted
                assert catalog.ids_by(hashes=(), creators=(), sequences=()) == []


def test_stages_are_timed_and_only_exclusions_cost_a_stage(harness, ask, tmp_path):
    org = harness.organization()
    ingest(harness, org, tmp_path / "old", crowd("old", 4, creator="ann"))
    assert "exclude" not in ask(org).timings_ms
    answer = ask(org, Exclusions(creators=("ann",)))
    assert answer.timings_ms["exclude"] > 0
    assert (answer.point, answer.ranked, answer.credible_discs) == (None, (), ())


@pytest.mark.parametrize("seed", range(12))
def test_a_gallery_without_the_rows_says_the_same(seed):
    """The obvious way beside the quick one: take the rows out by hand, then ask."""
    rng = random.Random(seed)
    points = in_memory.gallery(places=8, views=4)
    vector = in_memory.PixelEncoder().encode_query(in_memory.picture(rng.randrange(8), 1))
    cosine = rng.choice([None, 0.9, 0.97, 0.999])
    ids = {p.id for p in rng.sample(points, rng.choice([0, 5, 40]))}
    # A near-duplicate outside the circle is no candidate, and still no evidence.
    middle = points[0].point
    circle = rng.choice([None, Circle(center=middle, radius_m=30_000 * rng.random())])
    limits = SearchFilter(circle=circle, source_kinds=rng.choice([(), ("photo",)]))
    kept = [
        p
        for p in points
        if p.id not in ids and (cosine is None or float(p.vectors["image"] @ vector) < cosine)
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

    exclusions = Exclusions(ids=tuple(sorted(ids)), near_duplicate_cosine=cosine)
    assert same(locate(points, exclusions)) == same(locate(kept, None))
    if ids or len(kept) < len(points):
        gone = {p.id for p in points} - {p.id for p in kept}
        assert not shown(locate(points, exclusions)) & gone


def test_a_crowd_of_copies_costs_few_requests():
    points = in_memory.gallery(places=6, views=4)
    vector = in_memory.PixelEncoder().encode_query(in_memory.picture(2, 1))
    own = points[2 * 8]
    copies = [
        dataclasses.replace(own, id=UUID(int=number), group=str(number), vectors={"image": vector})
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
    assert not shown(answer) & {copy.id for copy in copies}
    # By the page it would be 700 / 6 requests, and as many reads of evidence.
    assert len(index.requests) <= 8
    assert database.log.count("evidence") == 1


@pytest.mark.parametrize("cosine", [0.0, -0.5, 1.01, float("nan")])
def test_a_cosine_that_excludes_everything_or_nothing_is_refused(cosine):
    with pytest.raises(ValueError, match="must be in"):
        Exclusions(near_duplicate_cosine=cosine)


def test_top1_is_the_place_of_the_most_similar_candidate():
    points = in_memory.gallery(places=6, views=3)
    vector = in_memory.PixelEncoder().encode_query(in_memory.picture(2, 777))

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
    assert [each.weight for each in answer.ranked] == [1.0] + [0.0] * (SETTINGS.candidates - 1)
    assert [each.candidate.rank for each in answer.ranked] == list(range(SETTINGS.candidates))
    assert (answer.ranker, voted.ranker) == ("top1", "vote")
    said = {e.id: s for r in voted.ranked for e, s in zip(r.evidence, r.similarities, strict=True)}
    for each in answer.ranked:
        assert each.similarities == tuple(said[photo.id] for photo in each.evidence)
    assert isinstance(answer.point, Point)
