"""Answers of jobs reveal nothing of images in protected areas to a key that may not see them."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
import shapely
from pyarrow import parquet

from stack_fixtures import jpeg
from tenant_isolation.protected_galleries import (
    PROTECTED_SEEDS,
    REMOTE_SEED,
    Normalizer,
    create_galleries,
)

PARQUET = "application/vnd.apache.parquet"
INSIDE = {f"inside-{seed}.jpg": jpeg(seed, 0, 0) for seed in PROTECTED_SEEDS}
OTHERS = {"outside.jpg": jpeg(700, 0, 0), "unknown.jpg": jpeg(799, 0, 0)}
PHOTOS = {**INSIDE, "remote.jpg": jpeg(REMOTE_SEED, 0, 0), **OTHERS, "broken.jpg": b"no photo"}
PARAMETERS = json.dumps({"top": 100, "include": ["matches", "explain"]})


@pytest.fixture(scope="module")
def galleries(job_server, tmp_path_factory):
    """The galleries of the tests of tenant isolation, behind the API of the jobs."""
    worker = job_server.stack.worker
    harness = SimpleNamespace(
        api_keys=worker.api_keys,
        owner=worker.rebuild_source._transactions,
        ingest=job_server.stack.ingest,
    )
    url = str(job_server.http.base_url)
    pair = SimpleNamespace(
        harness=harness,
        folder=tmp_path_factory.mktemp("protected"),
        alder=SimpleNamespace(url=url),
    )
    return create_galleries(pair)


def run_job(job_server, tenant):
    """Run a job with all photos; returns its id, its results and errors by file, and its table."""
    with tenant.http() as http:
        files = [("files", (name, photo)) for name, photo in PHOTOS.items()]
        created = http.post("/v1/jobs/locate", files=files, data={"parameters": PARAMETERS})
        assert created.status_code == 201, created.text
        path = f"/v1/jobs/{created.json()['job']['id']}"
        job_server.run_tasks(path.rpartition("/")[2])
        lines = [
            json.loads(line)
            for kind in ("results", "errors")
            for line in http.get(f"{path}/{kind}").text.splitlines()
        ]
        table = http.get(f"{path}/results", headers={"Accept": PARQUET}).content
        items = http.get(f"{path}/items").json()["items"]
        assert [item["state"] for item in items] == ["completed"] * 5 + ["failed"]
    for line in lines:
        assert line.get("answer", {}).pop("timings_ms", {}) == {}
    rows = {row["file"]: row for row in parquet.read_table(io.BytesIO(table)).to_pylist()}
    return path, {line["file"]: line for line in lines}, rows


@pytest.mark.parametrize(
    ("granularity", "properties"),
    [("refuse", {}), ("city", {}), ("country", {}), ("radius", {"min_radius_m": 7_000})],
)
def test_job_answers_equal_those_of_a_gallery_that_never_had_the_images(
    job_server, galleries, granularity, properties
):
    galleries.set_area(granularity, **properties)
    full, reduced = galleries.full, galleries.reduced
    path, lines, rows = run_job(job_server, full)
    _, reduced_lines, reduced_rows = run_job(job_server, reduced)
    equal = PHOTOS if granularity == "refuse" else [*OTHERS, "broken.jpg"]
    for name in equal:
        one, other = (
            Normalizer(tenant).replace(result[name])
            for tenant, result in ((full, lines), (reduced, reduced_lines))
        )
        assert one == other, name
        positions = [table.get(name, {}).get("geometry") for table in (rows, reduced_rows)]
        assert positions[0] == positions[1], name
    ids = galleries.protected_ids().values()
    assert not any(id_ in json.dumps(line) for line in lines.values() for id_ in ids)
    if granularity == "refuse":
        with galleries.as_exempt(full).http() as http:
            answer = http.post("/v1/locate", files={"photo": PHOTOS["remote.jpg"]}).json()
        assert answer["candidates"][0]["image_id"] in ids
        return
    answers = [lines[name]["answer"] for name in INSIDE]
    assert answers[0]["point"] == answers[1]["point"]
    for name, answer in zip(INSIDE, answers, strict=True):
        assert answer["granularity"] == granularity
        assert answer["candidates"] == answer["matches"] == []
        assert answer["citations"] == {}
        # The file of positions has the coarse one.
        position = shapely.from_wkb(rows[name]["geometry"])
        assert (position.y, position.x) == tuple(answer["point"].values())
    with full.http() as http:
        name, photo = next(iter(INSIDE.items()))
        fields = {"top": 100, "include": ["matches", "explain"]}
        direct = http.post("/v1/locate", files={"photo": photo}, data=fields).json()
        assert {**direct, "timings_ms": None} == {**answers[0], "timings_ms": None}, path
