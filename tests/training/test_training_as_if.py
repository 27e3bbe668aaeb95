"""What other towns lose, so that nothing tells the truth but pictures; and whose photos are."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest

from pinpoint.nets.rerank_inputs import Photos, Shape
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, KINDS
from pinpoint.training.as_if import Makers, makers_of, thinned
from pinpoint.training.examples import example_type
from pinpoint.training.reranker_config import DropConfig
from pinpoint.training.reranker_objective import dropped, plain
from pinpoint.training.seats import nearest

TOWNS, CANDIDATES, PER_KIND = 3, 2, 6
PHOTOS = 2 * TOWNS * (CANDIDATES + PER_KIND)
IDS = [UUID(int=number + 1) for number in range(PHOTOS)]


@pytest.fixture
def photos():
    vectors = {one: {IMAGE_CHANNEL: np.ones(2), GPS_CHANNEL: np.ones(2)} for one in IDS}
    return Photos.of(vectors, 2, np.float32)


def asked(kind="photo", kept_out=True, truth=0):
    """One question: three towns of two candidates, with evidence of both kinds; no photo twice."""
    room = TOWNS * CANDIDATES
    rows = np.zeros(1, example_type(Shape(dim=2, candidates=room, per_kind=PER_KIND)))
    row, left = rows[0], iter(IDS)
    row["present"], row["near_present"], row["kept_out"] = True, True, kept_out
    row["query_kind"] = KINDS.index(kind)
    row["position"] = [(10.0 * town, 0.01 * seat) for town in range(3) for seat in range(2)]
    row["truth"] = (10.0 * truth, 0.0)
    row["id"] = [next(left).bytes for _ in range(room)]
    for town in range(TOWNS):
        # Both candidates of a town have the same evidence.
        row["near_id"][2 * town : 2 * town + 2] = [next(left).bytes for _ in range(2 * PER_KIND)]
    row["away_m"] = np.arange(2 * PER_KIND)
    return rows


def makers(photos, every=3):
    """Each so many photos in the order of their ids are of one author; sequences are unknown."""
    numbers = np.arange(len(photos.ids), dtype=np.int32)
    return Makers(creator=numbers // every, sequence=np.full_like(numbers, -1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("truth", range(TOWNS))
def test_every_town_but_that_of_the_truth_loses_what_one_author_took(photos, kind, truth):
    rows, whose = asked(kind, truth=truth), makers(photos)
    thinned(rows, photos, whose, np.random.default_rng(3))
    gone = ~rows["near_present"][0].reshape(TOWNS, CANDIDATES, len(KINDS), PER_KIND)
    lost = gone.reshape(TOWNS, -1).any(1)
    assert lost.tolist() == [town != truth for town in range(TOWNS)]
    own = whose.of(photos, rows["near_id"])[1][0].reshape(gone.shape)
    for town in np.flatnonzero(lost):
        authors = np.unique(own[town][gone[town]])
        assert len(authors) == 1
        assert (gone[town] == (own[town] == authors[0])).all()
        assert gone[town][:, KINDS.index(kind)].any(), "of the question's own kind"


def test_candidates_of_that_author_are_gone_too(photos):
    rows = asked()
    thinned(rows, photos, makers(photos, every=PHOTOS), np.random.default_rng(0))
    assert rows["present"][0].tolist() == [True, True, False, False, False, False]
    assert not rows["near_present"][0, 2:].any()


def test_a_photo_of_nobody_is_left_out_by_itself(photos):
    rows = asked()
    nobody = np.full(len(photos.ids), -1, dtype=np.int32)
    thinned(rows, photos, Makers(creator=nobody, sequence=nobody), np.random.default_rng(0))
    gone = ~rows["near_present"][0]
    assert gone.sum(1).tolist() == [0, 0, 1, 1, 1, 1]
    assert rows["present"].all()


def test_nothing_is_taken_where_nothing_was_kept_out(photos):
    rows = asked(kept_out=False)
    thinned(rows, photos, makers(photos), np.random.default_rng(0))
    assert rows["present"].all()
    assert rows["near_present"].all()


def test_the_next_nearest_take_the_seats_that_get_free():
    rows = asked()
    rows["near_present"][0, 0, [0, 2, PER_KIND + 5]] = False
    few = nearest(rows, 4)
    assert few["away_m"][0, 0].tolist() == [1, 3, 4, 5, 6, 7, 8, 9]
    assert few["near_present"][0].all()
    assert few["near_id"][0, 1].tolist() == [
        rows["near_id"][0, 1, seat] for seat in (0, 1, 2, 3, 6, 7, 8, 9)
    ]
    assert few["truth"].tolist() == rows["truth"].tolist()
    short = nearest(rows, PER_KIND)
    assert short["near_present"][0, 0].sum() == 2 * PER_KIND - 3


def test_makers_are_read_once_and_kept(tmp_path, photos):
    names = {one: (f"author {one.int % 4}", None if one.int % 2 else "drive") for one in IDS[1:]}
    read = []

    class Reader:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def images(self, ids):
            read.append(len(ids))
            return {
                one: SimpleNamespace(creator=names[one][0], sequence=names[one][1])
                for one in ids
                if one in names
            }

    parts = SimpleNamespace(database=SimpleNamespace(read=lambda organization_id: Reader()))
    found = makers_of(tmp_path, photos, parts, UUID(int=0))
    again = makers_of(tmp_path, photos, parts, UUID(int=0))
    assert sum(read) == PHOTOS
    assert found.creator[0] == -1, "not in the catalogue any more"
    for one, codes in ((found.creator, 0), (found.sequence, 1)):
        for a, b in ((1, 5), (2, 4), (3, 4)):
            same = names[IDS[a]][codes] == names[IDS[b]][codes] is not None
            assert (one[a] == one[b] != -1) == same
    assert (again.creator == found.creator).all()
    assert (again.sequence == found.sequence).all()


def test_a_training_run_thins_other_towns_of_what_the_flow_found(world, examples, tmp_path):
    rig, org = world
    _, found = examples
    whose = makers_of(tmp_path, found.photos, SimpleNamespace(database=rig.database), org)
    rows = np.flatnonzero(found.rows["kept_out"])
    nothing = DropConfig(**dict.fromkeys(("evidence", "photo", "channel", "kind", "region"), 0.0))
    whole = plain(found, rows)
    thin = dropped(replace(found, makers=whose), rows, 0, 1, nothing).asked
    before, after = whole.asked.near_present.numpy(), thin.near_present.numpy()
    lost = (before & ~after).any(-1)
    here = whole.away_km() < 29
    assert len(rows) > 5
    assert not lost[here].any()
    assert lost[whole.asked.present.numpy() & ~here].mean() > 0.2
