"""Recall of filtered search at 10,000 images, and the search strategy for each filter."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recall_table as bench
from index_gallery import ORG_A
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.store.vectors import strategy

# 1,024 values: the engine scans by itself where a filter lets fewer than 10 MB of vectors through,
# which at 10,000 images of 512 values would leave the graph unused.
N, WIDTH, QUERIES = 10_000, 1_024, 32


@pytest.fixture(scope="module")
def gallery():
    return bench.gallery_of(N, WIDTH)


def test_edge_index_every_filter_shape_keeps_recall(tmp_path, gallery, record_property):
    with bench.edge(tmp_path / "build", gallery) as (index, switch):
        rows = list(bench.table("edge", index, switch, gallery, QUERIES))
    bench.show(rows, record_property)
    bench.check(rows)
    bench.check_that_the_plain_graph_loses(rows)


@pytest.mark.parametrize("where", ["memory", "server"])
def test_qdrant_index_every_filter_shape_keeps_recall(where, gallery, record_property):
    if where == "server" and not os.environ.get("PINPOINT_TEST_QDRANT_URL"):
        pytest.skip("no Qdrant server; set PINPOINT_TEST_QDRANT_URL to test against one")
    opened_index = bench.memory(gallery) if where == "memory" else bench.server(gallery)
    with opened_index as (index, switch):
        query_count = 3 if where == "memory" else QUERIES
        rows = list(bench.table(where, index, switch, gallery, query_count))
    bench.show(rows, record_property)
    bench.check(rows)


@given(matched=st.integers(0, 10**9))
def test_choose_by_matches_never_uses_plain_graph(matched):
    exact = matched < strategy.EXACT_BELOW
    assert strategy.choose_by_matches(matched) == ("exact" if exact else "acorn")


def test_choose_strategy_exact_query_is_exact_without_count():
    def fail_if_called(*_):
        raise AssertionError("counted")

    where = IndexFilter(organization_id=ORG_A, source_kinds=("photo",))
    query = IndexQuery(channel="image", vector=np.ones(4), filter=where, limit=5, exact=True)
    assert (
        strategy.choose_strategy(query, fail_if_called, fail_if_called, fail_if_called) == "exact"
    )
    limit = strategy.EXACT_BELOW
    approximate_query, choose = replace(query, exact=False), strategy.choose_by_matches
    assert (
        strategy.choose_strategy(approximate_query, choose, fail_if_called, lambda _: (limit, True))
        == "acorn"
    )


def test_choose_strategy_small_index_is_exact_without_count():
    where = IndexFilter(organization_id=ORG_A)
    query = IndexQuery(channel="image", vector=np.ones(4), filter=where, limit=5)
    limit = strategy.EXACT_BELOW
    fail_on_lookup = {}.__getitem__
    assert (
        strategy.choose_strategy(
            query, strategy.choose_by_matches, fail_on_lookup, fail_on_lookup, limit - 1
        )
        == "exact"
    )


@pytest.mark.parametrize(
    ("upper_bound", "is_exact", "counted", "expected"),
    [
        (strategy.EXACT_BELOW - 1, True, None, "exact"),
        (strategy.EXACT_BELOW, True, None, "acorn"),
        (strategy.EXACT_BELOW - 1, False, None, "exact"),
        (strategy.EXACT_BELOW, False, strategy.EXACT_BELOW - 1, "exact"),
        (strategy.EXACT_BELOW, False, strategy.EXACT_BELOW, "acorn"),
    ],
)
def test_choose_strategy_counts_only_narrowed_filters(upper_bound, is_exact, counted, expected):
    where = IndexFilter(organization_id=ORG_A, source_kinds=("photo",))
    query = IndexQuery(channel="image", vector=np.ones(4), filter=where, limit=5)
    counts = {} if counted is None else {where: counted}
    chosen = strategy.choose_strategy(
        query,
        strategy.choose_by_matches,
        counts.__getitem__,
        lambda _: (upper_bound, is_exact),
        10**9,
    )
    assert chosen == expected
