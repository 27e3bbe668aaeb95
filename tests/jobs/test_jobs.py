"""Locate jobs over HTTP with the code of the jobs worker: counts, results, cancel, loss, expiry."""

from __future__ import annotations

import io
import json
from uuid import UUID

import pytest
from pyarrow import parquet
from sqlalchemy import text

from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import IndexUnavailableError
from pinpoint.jobs import locate_items, recover_jobs
from pinpoint.store.jobs import job_leases
from pinpoint_client import connect
from pinpoint_workers.jobs import get_repository, make_components

DEAD_WORKER = "host/2/0.00"


def without_timings(answer):
    return {name: value for name, value in answer.items() if name != "timings_ms"}


def commit(job_server, statement, **values):
    """Run a statement of the owner and commit it."""
    with job_server.stack.worker.rebuild_source._transactions.begin() as unit:
        unit.connection.execute(text(statement), values)


def expire_leases(job_server, job_id):
    commit(
        job_server,
        "UPDATE job_items SET lease_until = now() - interval '1 s' "
        "WHERE job_id = :job AND lease_until IS NOT NULL",
        job=job_id,
    )


def test_job_of_files_gives_the_answers_of_locate(job_server, photos):
    created = job_server.create({**photos, "broken.jpg": b"no photo"}, parameters='{"top": 2}')
    job_id = created["job"]["id"]
    assert created["job"]["state"] == "in_progress"
    assert {upload["status"] for upload in created["uploads"]} == {"stored"}
    assert len(job_server.photos()) == 7
    ended = job_server.work(job_id)
    assert ended["state"] == "completed"
    assert ended["counts"] == {
        "total": 7,
        "completed": 6,
        "failed": 1,
        "canceled": 0,
        "open": 0,
        "waiting_for_upload": 0,
        "invalid_lines": 0,
    }
    results = job_server.lines(job_id)
    assert [line["custom_id"] for line in results] == list(photos)
    for line in results:
        alone = job_server.http.post(
            "/v1/locate", data={"top": 2}, files={"photo": ("q.jpg", photos[line["file"]])}
        ).json()
        assert without_timings(line["answer"]) == without_timings(alone)
    (error,) = job_server.lines(job_id, "errors")
    assert (error["file"], error["state"]) == ("broken.jpg", "failed")
    assert error["error"]["code"] == "bad_photo" or error["error"]["code"]
    assert job_server.photos() == []
    (audited,) = job_server.stack.rows(
        "SELECT count(DISTINCT photo_sha256) FROM audit_log a JOIN jobs j ON j.id = :job "
        "WHERE a.key_id = j.key_id AND a.created_at >= j.created_at",
        job=job_id,
    )
    assert audited[0] == 6


def test_chunked_upload_is_resumable_and_starts_once(job_server, photos):
    names = list(photos)
    job_id = job_server.create({names[0]: photos[names[0]]}, start="false")["job"]["id"]
    assert job_server.job(job_id)["state"] == "validating"
    parts = [("files", (name, photos[name])) for name in names[:3]]
    uploaded = job_server.http.post(f"/v1/jobs/{job_id}/files", files=parts).json()
    assert [upload["status"] for upload in uploaded["uploads"]] == ["repeated", "stored", "stored"]
    assert uploaded["job"]["counts"]["total"] == len(job_server.photos()) == 3
    for _ in range(2):
        started = job_server.http.post(f"/v1/jobs/{job_id}/start")
        assert started.json()["state"] == "in_progress"
    refused = job_server.http.post(f"/v1/jobs/{job_id}/files", files=parts)
    assert refused.status_code == 409
    assert len(job_server.photos()) == 3
    assert job_server.work(job_id)["counts"]["completed"] == 3
    assert job_server.photos() == []


def test_start_of_job_without_items_returns_409(job_server):
    created = job_server.http.post("/v1/jobs/locate", data={"start": "false"}).json()
    refused = job_server.http.post(f"/v1/jobs/{created['job']['id']}/start")
    assert (refused.status_code, refused.json()["reason"]) == (409, "no_items")


def test_canceled_job_keeps_its_results(job_server, photos):
    job_server.set_chunk_size(2)
    job_id = job_server.create(photos)["job"]["id"]
    job_server.work(job_id, chunks=1)
    repository = get_repository(job_server.stack.worker)
    (claimed, _) = repository.claim(UUID(job_id), DEAD_WORKER)
    canceling = job_server.http.post(f"/v1/jobs/{job_id}/cancel").json()
    assert canceling["state"] == "canceling"
    assert canceling["counts"]["canceled"] == 2
    assert canceling["counts"]["open"] == 2
    assert job_server.finish(job_id)["state"] == "canceling"
    # One item in progress ends; the worker of the other one is lost.
    components = make_components(job_server.stack.worker)
    data = components.blobs.get(claimed.uri)
    assert repository.complete_item(claimed, DEAD_WORKER, components.locate(claimed, data))
    expire_leases(job_server, job_id)
    repository.expire_jobs()
    canceled = job_server.finish(job_id)
    assert canceled["state"] == "canceled"
    assert (canceled["counts"]["completed"], canceled["counts"]["canceled"]) == (3, 3)
    assert len(job_server.lines(job_id)) == 3
    assert {line["error"]["code"] for line in job_server.lines(job_id, "errors")} == {"canceled"}
    assert job_server.photos() == []
    assert job_server.http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "canceled"
    response = job_server.http.get(
        f"/v1/jobs/{job_id}/results", headers={"Accept": "application/vnd.apache.parquet"}
    )
    table = parquet.read_table(io.BytesIO(response.content))
    assert table.num_rows == 3
    assert b"geo" in parquet.read_metadata(io.BytesIO(response.content)).metadata
    assert json.loads(table["answer"][0].as_py()) == job_server.lines(job_id)[0]["answer"]


def test_items_of_a_lost_worker_are_repeated_alone(job_server, photos):
    job_server.set_chunk_size(4)
    job_id = job_server.create(photos)["job"]["id"]
    repository = get_repository(job_server.stack.worker)
    lost = repository.claim(UUID(job_id), DEAD_WORKER)
    assert len(lost) == 4
    assert len(repository.claim(UUID(job_id), "host/3/0.00")) == 2
    assert repository.claim(UUID(job_id), "host/4/0.00") == []
    # The API reports the open items; another worker continues after the leases.
    assert job_server.job(job_id)["counts"]["open"] == 6
    assert recover_jobs.release_lost_items(repository, lambda worker: worker != DEAD_WORKER) == 4
    assert len(repository.claim(UUID(job_id), "host/5/0.00")) == 1
    expire_leases(job_server, job_id)
    ended = job_server.work(job_id)
    assert (ended["state"], ended["counts"]["completed"]) == ("completed", 6)
    # The lost worker comes back: its answer is not stored a second time.
    components = make_components(job_server.stack.worker)
    located = components.locate(lost[0], photos[lost[0].file])
    assert not repository.complete_item(lost[0], DEAD_WORKER, located)
    assert job_server.photos() == []


def test_photo_that_kills_workers_costs_only_its_item(job_server, photos):
    job_server.set_chunk_size(16)
    job_id = job_server.create(photos)["job"]["id"]
    repository = get_repository(job_server.stack.worker)
    commit(
        job_server,
        "UPDATE job_items SET attempts = 5 WHERE job_id = :job AND position = 2",
        job=job_id,
    )
    ended = job_server.work(job_id)
    assert (ended["counts"]["completed"], ended["counts"]["failed"]) == (5, 1)
    (error,) = job_server.lines(job_id, "errors")
    assert error["error"]["code"] == "too_many_attempts"
    assert repository.claim(UUID(job_id), DEAD_WORKER) == []


def test_outage_releases_items_without_an_attempt(job_server, photos):
    job_id = job_server.create(photos)["job"]["id"]
    components = make_components(job_server.stack.worker)

    def fail(item, data):
        raise IndexUnavailableError("the index does not answer")

    broken = locate_items.JobComponents(
        repository=components.repository,
        blobs=components.blobs,
        locate=fail,
        url_fetcher=None,
        max_bytes=1,
    )
    with pytest.raises(IndexUnavailableError):
        locate_items.locate_job_items(UUID(job_id), DEAD_WORKER, broken)
    rows = job_server.stack.rows(
        "SELECT DISTINCT attempts, lease_owner FROM job_items WHERE job_id = :job", job=job_id
    )
    assert [tuple(row) for row in rows] == [(0, None)]
    assert job_server.work(job_id)["counts"]["completed"] == 6


def test_expired_job_keeps_results_and_deletes_photos(job_server, photos):
    job_server.set_chunk_size(2)
    job_id = job_server.create(photos)["job"]["id"]
    job_server.work(job_id, chunks=1)
    commit(
        job_server,
        "UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :job",
        job=job_id,
    )
    repository = get_repository(job_server.stack.worker)
    assert repository.expire_jobs() == 1
    expired = job_server.finish(job_id)
    assert expired["state"] == "expired"
    assert (expired["counts"]["completed"], expired["counts"]["canceled"]) == (2, 4)
    assert expired["ended_at"] < expired["expires_at"]
    assert job_server.photos() == []
    assert len(job_server.lines(job_id)) == 2
    commit(
        job_server,
        "UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :job",
        job=job_id,
    )
    assert repository.remove_old_jobs() == 1
    assert job_server.http.get(f"/v1/jobs/{job_id}").status_code == 404


def test_deleted_job_disappears_at_once_and_its_photos_with_the_task(job_server, photos):
    job_id = job_server.create(photos)["job"]["id"]
    repository = get_repository(job_server.stack.worker)
    (item, *_) = repository.claim(UUID(job_id), DEAD_WORKER)
    assert job_server.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    for path in ("", "/items", "/results", "/errors"):
        assert job_server.http.get(f"/v1/jobs/{job_id}{path}").status_code == 404
    located = make_components(job_server.stack.worker).locate(item, photos[item.file])
    assert not repository.complete_item(item, DEAD_WORKER, located)
    locate_items.finish_jobs([UUID(job_id)], repository, job_server.stack.worker.blobs)
    assert job_server.photos() == []
    assert job_server.stack.rows("SELECT 1 FROM jobs WHERE id = :job", job=job_id) == []


def test_list_jobs_pages_through_all_jobs(job_server, photos):
    first = next(iter(photos))
    created = [
        job_server.create({first: photos[first]}, start="false")["job"]["id"] for _ in range(3)
    ]
    listed, path = [], "/v1/jobs?limit=2"
    while path:
        page = job_server.http.get(path).json()
        listed += [job["id"] for job in page["jobs"]]
        path = page["next"]
    assert listed[:3] == created[::-1]
    assert len(listed) == len(set(listed))
    for job_id in created:
        job_server.http.delete(f"/v1/jobs/{job_id}")
        locate_items.finish_jobs(
            [UUID(job_id)],
            get_repository(job_server.stack.worker),
            job_server.stack.worker.blobs,
        )
    assert job_server.photos() == []


def test_recovery_sends_lost_tasks(job_server, photos):
    job_id = job_server.create(photos)["job"]["id"]
    services = job_server.stack.worker
    sent = []

    class Recorder:
        def send(self, name, ids=()):
            sent.append((name, list(ids)))

        def check(self):
            return None

        def waiting(self, queues=()):
            assert queues == ("jobs",)
            return 0

    recover_jobs.recover_jobs(get_repository(services), Recorder(), lambda _: True)
    assert ("jobs.locate", [UUID(job_id)]) in sent
    job_server.work(job_id)
    sent.clear()
    recover_jobs.recover_jobs(get_repository(services), Recorder(), lambda _: True)
    assert all(ids != [UUID(job_id)] for _, ids in sent)


def test_lease_of_a_job_item_is_renewed(job_server, photos):
    job_id = job_server.create(photos)["job"]["id"]
    repository = get_repository(job_server.stack.worker)
    items = repository.claim(UUID(job_id), DEAD_WORKER)
    expire_leases(job_server, job_id)
    with job_server.stack.worker.rebuild_source._transactions.begin() as unit:
        job_leases.renew_job_leases(
            unit.connection, [item.id for item in items], DEAD_WORKER, lease_ttl_s=60
        )
    assert repository.claim(UUID(job_id), "host/9/0.00") == []
    repository.release_unprocessed([item.id for item in items], DEAD_WORKER)
    assert job_server.work(job_id)["counts"]["completed"] == 6


def test_client_resumes_an_interrupted_upload(job_server, photos, tmp_path):
    for name, data in photos.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    key = job_server.http.headers["Authorization"].removeprefix("Bearer ")
    with ApiClient.open(server=str(job_server.http.base_url), key=key) as client:
        job_id = client.create_job(dict(list(photos.items())[:2]), start=False)["job"]["id"]
        uploaded = []
        job = client.locate_as_job(
            tmp_path / "in", job_id=job_id, on_progress=lambda job: uploaded.append(job["counts"])
        )
        assert job["state"] == "in_progress"
        assert [counts["total"] for counts in uploaded] == [6]
        job_server.work(job_id)
        assert client.wait_for_job(job_id)["state"] == "completed"
        assert client.save_job_results(job_id, tmp_path / "out.parquet") > 1_000
        assert parquet.read_table(tmp_path / "out.parquet").num_rows == 6
    assert job_server.photos() == []


def test_client_locates_the_lines_of_a_file_and_its_results_name_them(job_server, photos, tmp_path):
    for number, data in enumerate(photos.values()):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    lines = tmp_path / "photos.jsonl"
    rows = [{"custom_id": f"photo {n}", "upload": f"{n}.jpg"} for n in range(len(photos))]
    missing = {"custom_id": "missing", "upload": "no.jpg"}
    lines.write_text("".join(f"{json.dumps(row)}\n" for row in (*rows, missing)) + "no JSON\n")
    key = job_server.http.headers["Authorization"].removeprefix("Bearer ")
    with connect(str(job_server.http.base_url), key) as client:
        sent = []
        job = client.locate_as_job(
            lines, parameters={"top": 1}, on_upload=lambda done, total: sent.append(done == total)
        )
        assert (sent[-1], job.counts.open, job.counts.failed) == (True, len(photos), 2)
        job_server.work(str(job.id))
        assert client.jobs.wait(job.id, timeout_s=5).state == "completed"
        results = list(client.jobs.results(job.id))
        assert [line.custom_id for line in results] == [row["custom_id"] for row in rows]
        assert all(len(line.answer.candidates) == 1 for line in results)
        errors = {line.custom_id: line.error.code for line in client.jobs.errors(job.id)}
        assert errors == {"missing": "upload_missing", None: "invalid_line"}
        client.jobs.delete(job.id)
        job_server.work_deleted(str(job.id))
    assert job_server.photos() == []


def test_metrics_have_the_states_and_the_age_of_jobs(job_server, photos):
    stats = job_server.stack.worker.maintenance_stats
    before = stats.totals()
    assert before.oldest_job_item_s is None
    job_server.set_chunk_size(2)
    job_id = job_server.create(photos)["job"]["id"]
    job_server.work(job_id, chunks=1)
    commit(job_server, "UPDATE jobs SET started_at = now() - interval '90 s' WHERE id = :job",
           job=job_id)  # fmt: skip
    running = stats.totals()
    assert running.jobs["in_progress"] == before.jobs["in_progress"] + 1
    changes = {state: running.job_items[state] - before.job_items[state] for state in
               running.job_items}  # fmt: skip
    assert changes == {"open": 4, "completed": 2, "failed": 0, "canceled": 0}
    assert 90 <= running.oldest_job_item_s < 150
    job_server.work(job_id)
    ended = stats.totals()
    assert ended.jobs["completed"] == before.jobs["completed"] + 1
    assert (ended.job_items, ended.oldest_job_item_s) == (before.job_items, None)


def test_jobs_take_turns(job_server, photos):
    job_server.set_chunk_size(2)
    repository = get_repository(job_server.stack.worker)
    jobs = [job_server.create(photos)["job"]["id"] for _ in range(2)]
    turns = []
    while (job_id := repository.find_next_job()) is not None:
        turns.append(str(job_id))
        assert len(repository.claim(job_id, DEAD_WORKER)) == 2
    assert turns == jobs * 3
    for job_id in jobs:
        expire_leases(job_server, job_id)
        job_server.http.delete(f"/v1/jobs/{job_id}")
        job_server.work_deleted(job_id)
    assert job_server.photos() == []
