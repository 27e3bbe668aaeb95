"""Real street views through a running stack with the built-in bundle.

For faces that have another panorama within 25 m, the most similar image of another panorama is
within 25 m in at least 80 % of cases (chance: 2 %). None of the images was used to make the bundle.
The stack returns the same images as exact numpy search over the stored vectors. The same photo gets
the same answer, byte for byte, alone and among concurrent requests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from sqlalchemy import text

from conftest import dismiss, home_folder, watch_over
from pinpoint.client import Client
from pinpoint.geo.distance import pairwise_m
from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings, ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.db.rows import unpack_vector
from shared_data import shared_data

NEAR_M = 25.0
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class StoredViews:
    """Rows of the street views in the stack, in one order: `[N]`, `[N, 2]`, `[N, D]`."""

    client: Client
    ids: list[str]
    panoramas: np.ndarray
    positions: np.ndarray
    vectors: np.ndarray
    photos: list


@pytest.fixture(scope="module")
def street():
    folder = shared_data() / "street" / "panoramax"
    with home_folder() as home:
        settings = Settings(
            services=ServiceSettings(home=home), encoder=EncoderSettings(bundle=BUILT_IN_BUNDLE)
        )
        watcher = watch_over(home)
        try:
            status = lifecycle.start_stack(settings)
            key = StackPaths(home).operator_key_file.read_text(encoding="ascii").strip()
            with Client.open(server=status.api_url, key=key) as client:
                ingest(home, folder)
                yield read_stored_views(client, folder, StackPaths(home))
        finally:
            lifecycle.stop_stack(settings)
            left = processes.find_stack_processes(StackPaths(home))
            dismiss(watcher)
            lifecycle.erase_stack(settings)
        assert left == []


def ingest(home, folder):
    """Ingest by the manifest, as an operator does."""
    command = [sys.executable, "-m", "pinpoint.cli", "--json", "ingest", "--wait"]
    command += ["--source", "panoramax", "--source-kind", "street", str(folder / "manifest.csv")]
    done = subprocess.run(
        command,
        env={**os.environ, "PINPOINT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    batch = json.loads(done.stdout)
    rows = len((folder / "manifest.csv").read_text().splitlines()) - 1
    assert (batch["items"], batch["indexed"]) == (rows, rows)


def read_stored_views(client, folder, places):
    """Read the stored rows and vectors from PostgreSQL."""
    transactions = Transactions(owner_engine(places.owner_url()))
    with transactions.begin() as unit:
        stored = unit.connection.execute(
            text(
                "SELECT i.id, i.external_id, i.panorama_id, ST_Y(i.geom) AS lat, "
                "ST_X(i.geom) AS lon, e.vector FROM images i "
                "JOIN embeddings e ON e.image_id = i.id ORDER BY i.id"
            )
        ).all()
    transactions.close()
    return StoredViews(
        client=client,
        ids=[str(row.id) for row in stored],
        panoramas=np.array([row.panorama_id for row in stored]),
        positions=np.array([(row.lat, row.lon) for row in stored]),
        vectors=np.stack([unpack_vector(row.vector) for row in stored]),
        photos=[folder.parent / row.external_id for row in stored],
    )


def test_similar_nearest_foreign_view_is_within_25_m(street, record_property):
    distances_m = pairwise_m(street.positions)
    foreign = street.panoramas[:, None] != street.panoramas[None, :]
    query_rows = np.flatnonzero(((distances_m <= NEAR_M) & foreign).any(axis=1))
    assert len(query_rows) > 90
    cosines = street.vectors @ street.vectors.T
    exact = np.where(foreign, cosines, -np.inf).argmax(axis=1)
    row_of = {image_id: row for row, image_id in enumerate(street.ids)}

    def nearest(row):
        page = street.client.similar(image_id=street.ids[row], exclude_group=True, limit=1)
        return row_of[page["groups"][0]["hits"][0]["image_id"]]

    with ThreadPoolExecutor(2) as pool:
        nearest_rows = np.array(list(pool.map(nearest, query_rows)))
    share = float((distances_m[query_rows, nearest_rows] <= NEAR_M).mean())
    by_numpy = float((distances_m[query_rows, exact[query_rows]] <= NEAR_M).mean())
    chance = float(
        ((distances_m <= NEAR_M) & foreign)[query_rows].sum() / foreign[query_rows].sum()
    )
    summary = (
        f"stack {share:.1%}, numpy {by_numpy:.1%}, chance {chance:.1%}, {len(query_rows)} queries"
    )
    record_property("recall@1 within 25 m", summary)
    assert share >= 0.80, summary
    assert (nearest_rows != exact[query_rows]).sum() <= 1


def test_locate_same_photo_under_load_gives_same_answer(street):
    def answer(photo):
        body = street.client.locate(photo)
        del body["timings_ms"]
        return json.dumps(body, sort_keys=True)

    query = street.photos[0]
    alone = {answer(query) for _ in range(25)}
    others = street.photos[1:26]
    with ThreadPoolExecutor(8) as pool:
        mixed = [photo for other in others for photo in (query, other)]
        answers = list(pool.map(answer, mixed))
    assert alone == set(answers[::2])
    assert len(alone) == 1
    assert len(set(answers[1::2])) > 20
