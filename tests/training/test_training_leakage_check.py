"""The leakage check: whether missing evidence reveals the location of a query."""

import numpy as np
import pytest

from pinpoint.nets.reranker.inputs import InputShape
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.reranker.examples import example_type
from pinpoint.training.reranker.leakage_check import (
    ELSEWHERE,
    NEAR_GROUND_TRUTH,
    leakage_warning,
    short_evidence_shares,
)

CANDIDATES, PER_KIND = 4, 2


def example_rows(kind, near, elsewhere):
    """One query per row: candidates 0 and 1 near the ground truth, 2 and 3 far.

    `near` and `elsewhere` give the number of evidence images of each query's candidates.
    """
    rows = np.zeros(len(near), example_type(InputShape(dim=2, candidates=4, per_kind=PER_KIND)))
    code = SOURCE_KINDS.index(kind)
    rows["query_kind"] = code
    rows["present"] = True
    rows["ground_truth"] = (10.0, 20.0)
    rows["position"] = [(10.1, 20.0), (10.0, 20.1), (40.0, 20.0), (10.0, 60.0)]
    slots = np.arange(PER_KIND)
    of_kind = rows["evidence_present"].reshape(len(rows), CANDIDATES, len(SOURCE_KINDS), PER_KIND)[
        :, :, code
    ]
    of_kind[:, :2] = slots < np.array(near)[:, None, None]
    of_kind[:, 2:] = slots < np.array(elsewhere)[:, None, None]
    return rows


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_short_evidence_shares_are_counted_near_and_far(kind):
    found = short_evidence_shares(example_rows(kind, near=[0, 1, 1, 2], elsewhere=[2, 2, 2, 1]))
    assert found == {kind: {NEAR_GROUND_TRUTH: 0.75, ELSEWHERE: 0.25}}
    assert "75%" in leakage_warning(found)
    assert "evidence_per_kind" in leakage_warning(found)


def test_leakage_warning_for_short_evidence_elsewhere_is_given():
    found = short_evidence_shares(example_rows("photo", near=[2, 2], elsewhere=[1, 1]))
    assert found == {"photo": {NEAR_GROUND_TRUTH: 0.0, ELSEWHERE: 1.0}}
    assert "0% and 100%" in leakage_warning(found)


def test_leakage_warning_for_equal_shares_is_none():
    found = short_evidence_shares(example_rows("photo", near=[1, 2, 0, 1], elsewhere=[0, 1, 1, 2]))
    assert found["photo"][NEAR_GROUND_TRUTH] == found["photo"][ELSEWHERE]
    assert leakage_warning(found) is None


def test_short_evidence_shares_ignore_absent_candidates():
    rows = example_rows("photo", near=[0], elsewhere=[2])
    rows["present"][:, :2] = False
    assert short_evidence_shares(rows) == {}


def test_leakage_warning_without_evidence_slots_is_none():
    rows = np.zeros(1, example_type(InputShape(dim=2, candidates=2, per_kind=0)))
    rows["present"] = True
    rows["position"] = [(0.0, 0.0), (50.0, 0.0)]
    assert leakage_warning(short_evidence_shares(rows)) is None
