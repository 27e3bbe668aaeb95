"""Recall of filtered search at 100,000 images: the table that `vectors_plan` decides by."""

from __future__ import annotations

import os

import pytest

import recall_table as bench

N, WIDTH, ASKED = 100_000, 512, 40


@pytest.mark.timeout(900)
def test_edge_recall_at_100_000_holds_for_every_filter(tmp_path, record_property):
    gallery = bench.gallery_of(N, WIDTH)
    with bench.edge(tmp_path / "build", gallery) as (index, switch):
        rows = list(bench.table("edge", index, switch, gallery, ASKED))
    bench.show(rows, record_property)
    bench.check(rows)
    bench.check_that_the_plain_graph_loses(rows)


@pytest.mark.timeout(300)
def test_edge_recall_holds_for_dominant_organization(tmp_path, record_property):
    # Here ACORN has nothing to look past and is no better than the plain graph.
    gallery = bench.gallery_of(20_000, WIDTH, big=0.98)
    with bench.edge(tmp_path / "build", gallery) as (index, switch):
        rows = list(bench.table("edge 98 %", index, switch, gallery, ASKED))
    bench.show(rows, record_property)
    bench.check(rows)


@pytest.mark.timeout(1_800)
def test_server_recall_at_100_000_holds_for_every_filter(record_property):
    if not os.environ.get("PINPOINT_TEST_QDRANT_URL"):
        pytest.skip("no Qdrant server; set PINPOINT_TEST_QDRANT_URL to test against one")
    gallery = bench.gallery_of(N, WIDTH)
    with bench.server(gallery, wait_s=1_200) as (index, switch):
        rows = list(bench.table("server", index, switch, gallery, ASKED))
    bench.show(rows, record_property)
    bench.check(rows)
