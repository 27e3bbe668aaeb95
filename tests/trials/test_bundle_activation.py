"""Activation of another bundle with a large gallery under constant queries, and back again.

`PINPOINT_TEST_USE_IMAGES` is the number of images (default 20,000). Their vectors are written
directly under both contracts, because encoding so many images would take hours. A few real photos
arrive during the switch and are encoded by the stack's worker and by the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest

from clustered import OWNERS
from nets.towers import timm_bundle
from pinpoint.bootstrap import build_services
from pinpoint.cli.api_client import ApiClient
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import PinpointError
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import IndexFilter, SearchFilter
from pinpoint.search.context import SearchContext
from pinpoint.search.pipeline import locate_encoded
from pinpoint.store.vectors.rpc.client import RemoteIndex
from stack_fixtures import write_photos
from trials.rebuild.load import follow
from trials.rebuild.rows import CHANGING, STILL, load
from trials.soak.fault_stack import run_fault_stack

IMAGES = int(os.environ.get("PINPOINT_TEST_USE_IMAGES", "20000"))
ASKED, BUNDLE, REAL = 24, "tiny", 12
PAUSE_S, PHOTO_PAUSE_S = 0.1, 0.5
SAME = 2e-3
"""How far a score may lie from the product of the two stored vectors, which are fp16."""


class SyntheticGallery:
    """The gallery in the descriptor's embedding and projected to the tower's width."""

    def __init__(self, stack, loaded, old, new):
        self.ids, self.old, self.new = loaded.ids, old, new
        turn = np.random.default_rng(5).standard_normal((old.dims["image"], new.dims["image"]))
        self.vectors = {old.digest: loaded.clustered.vectors.astype(np.float16).astype("f4")}
        self.queries = {old.digest: loaded.queries}
        for digest_of in (self.vectors, self.queries):
            rows = digest_of[old.digest] @ turn.astype("f4")
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            digest_of[new.digest] = rows.astype(np.float16).astype("f4")
        self.place = {image: row for row, image in enumerate(self.ids)}
        self._plant(stack, loaded)

    def _plant(self, stack, loaded):
        fields = "image_id, contract, channel, organization_id, vector"
        rows = self.vectors[self.new.digest].astype("<f2")
        with psycopg.connect(stack.paths.superuser_dsn("pinpoint")) as connection:
            connection.execute("SET search_path = pinpoint, public")
            with connection.cursor().copy(f"COPY embeddings ({fields}) FROM STDIN") as copy:
                for image, owner, vector in zip(
                    self.ids, loaded.clustered.organization, rows, strict=True
                ):
                    copy.write_row(
                        (image, self.new.digest, "image", OWNERS[owner], vector.tobytes())
                    )
        with psycopg.connect(stack.paths.superuser_dsn("pinpoint"), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE pinpoint.embeddings")

    def wrong(self, digest, query_number, answer):
        """Candidates whose score is not the cosine of query and candidate in one embedding."""
        query = self.queries[digest][query_number]
        return [
            one.candidate.id
            for one in answer.ranked
            if one.candidate.id in self.place
            and abs(self._cosine(digest, one.candidate.id, query) - one.candidate.score) > SAME
        ]

    def _cosine(self, digest, image, query):
        own = self.vectors[digest][self.place[image]]
        return float(own @ query / np.linalg.norm(own) / np.linalg.norm(query))


class QueryLoad:
    """Complete queries under the API's role, and photos over HTTP, each from a thread."""

    def __init__(self, stack, gallery, photo):
        self.gallery, self.photo, self.home = gallery, photo, stack.paths.home
        self.services = build_services(stack.settings, "api")
        self.answers, self.failed, self.took_s, self.over_http = [], [], [], []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat_until_stopped, args=each)
            for each in ((self._vector, PAUSE_S), (self._upload, PHOTO_PAUSE_S))
        ]

    def _repeat_until_stopped(self, ask, pause_s):
        number = 0
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                ask(number)
            except PinpointError as error:
                self.failed.append(f"{ask.__name__}: {error.reason}: {error.message}")
            self.took_s.append(time.monotonic() - begun)
            number += 1
            time.sleep(pause_s)

    def _vector(self, number):
        query_number, owner = number % ASKED, (CHANGING, STILL)[number % 2]

        def ask(encoder):
            return locate_encoded(
                self.gallery.queries[encoder.contract.digest][query_number],
                SearchFilter(),
                SearchContext(
                    organization_id=owner,
                    decoder=self.services.decoder,
                    encoder=encoder,
                    index=self.services.index,
                    database=self.services.database,
                    settings=self.services.settings.search,
                ),
            )

        answer = self.services.with_current_encoder(ask)
        wrong = self.gallery.wrong(answer.bundle_digest, query_number, answer)
        self.answers.append(
            (answer.index_build, answer.bundle_digest, len(answer.ranked), len(wrong))
        )

    def _upload(self, number):
        with ApiClient.open(organization="org-2") as client:
            said = client.locate(self.photo)
        self.over_http.append((said["index"]["build"], said["bundle"]["digest"]))

    @contextmanager
    def asking(self):
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
            self.services.close()

    def builds(self):
        """Build → contracts of its answers, from both clients."""
        contracts = {}
        for build_, digest, *_ in [*self.answers, *self.over_http]:
            contracts.setdefault(build_, set()).add(digest)
        return contracts


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def pinpoint(stack, *arguments):
    """Run a command; returns its JSON document."""
    environment = {name: value for name, value in os.environ.items() if "PINPOINT" not in name}
    environment |= {"PINPOINT_HOME": str(stack.paths.home), "OMP_NUM_THREADS": "1"}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    say(f"pinpoint {' '.join(arguments)}: {time.monotonic() - begun:.1f} s, {said}")
    return said


def photos(folder: Path, first: int) -> Path:
    write_photos(folder, REAL, first=first)
    return folder


def settled(stack):
    """Wait until the worker has done all there is."""
    until = time.monotonic() + 120
    statement = "SELECT count(*) FROM batch_items WHERE status IN ('received', 'stored')"
    while stack.sql(statement) != [(0,)]:
        assert time.monotonic() < until, "files have no verdict"
        time.sleep(0.2)


@pytest.mark.timeout(1_800)
def test_bundle_activation_under_load_switches_and_returns(tmp_path, monkeypatch):
    with run_fault_stack(clock=False, disks=False, second=False, chunk=8, lease_s=60.0) as stack:
        monkeypatch.setenv("PINPOINT_HOME", str(stack.paths.home))
        timm_bundle(stack.paths.home / "bundles" / BUNDLE)
        services = build_services(stack.settings, "worker")
        old = services.encoder.contract
        new = EncoderHandle(stack.settings, BUNDLE).contract
        gallery = SyntheticGallery(stack, load(stack, IMAGES, ASKED), old, new)
        assert isinstance(services.index, RemoteIndex)
        services.index.rebuild()
        follow(services.index)
        assert services.index.count() == IMAGES
        photo = photos(tmp_path / "asked", 500) / "0500.jpg"
        with QueryLoad(stack, gallery, photo).asking() as load_:
            coming = threading.Thread(target=_keep_coming, args=(stack, tmp_path))
            coming.start()
            there = pinpoint(stack, "bundles", "activate", BUNDLE)
            time.sleep(2.0)
            back = pinpoint(stack, "bundles", "activate", "descriptor")
            coming.join()
            time.sleep(2.0)
        settled(stack)
        _no_answer_is_wrong(load_, old, new)
        assert (there["contract"], back["contract"]) == (new.digest, old.digest)
        assert there["already"] >= IMAGES
        assert there["unreachable"] == back["unreachable"] == {}
        _nothing_is_lost(stack, services, old)
        services.close()


def _keep_coming(stack, folder):
    """Ingest real photos while the bundle changes in both directions."""
    for turn in range(3):
        came = photos(folder / f"turn-{turn}", 600 + 100 * turn)
        pinpoint(stack, "--org", "org-0", "ingest", str(came), "--source", f"real-{turn}",
                 "--source-kind", "photo")  # fmt: skip
        time.sleep(3.0)


def _no_answer_is_wrong(load_, old, new):
    answers, builds = load_.answers, load_.builds()
    longest_s, middle_s = max(load_.took_s), float(np.median(load_.took_s))
    say(
        f"{len(answers)} queries and {len(load_.over_http)} photos over HTTP: "
        f"{len(load_.failed)} failed, {sum(one[3] > 0 for one in answers)} mixed; median "
        f"{middle_s:.3f} s, longest {longest_s:.1f} s; {len(builds)} builds"
    )
    assert load_.failed == []
    assert [one for one in answers if one[3] or not one[2]] == []
    assert {len(digests) for digests in builds.values()} == {1}
    for seen in (answers, load_.over_http):
        assert {one[1] for one in seen} == {old.digest, new.digest}


def _nothing_is_lost(stack, services, contract):
    real = stack.sql("SELECT count(*) FROM images WHERE external_id !~ '^[0-9]{7}[.]jpg$'")
    indexed = stack.sql("SELECT count(*) FROM images WHERE state = 'indexed'")
    services.ensure_index()
    drift = reconcile_index_rows(
        repository=services.repository,
        index=services.index,
        queue=None,
        contract=contract.digest,
        chunk=64,
    )
    mine = services.index.count(IndexFilter(organization_id=CHANGING))
    say(f"{real} real photos, {indexed} rows indexed, {mine} of one organization; {drift}")
    assert real == [(3 * REAL,)]
    assert indexed == [(IMAGES + 3 * REAL,)]
    assert (drift.total, services.index.count()) == (0, IMAGES + 3 * REAL)
