"""Jobs and the keys that create them: revoked and restricted keys."""

from __future__ import annotations

import json

import httpx

from pinpoint.records import KeyGrant
from pinpoint_workers.jobs import get_repository


def test_revoked_key_stops_its_jobs_and_their_results_are_kept(job_server, photos):
    api_keys = job_server.stack.worker.api_keys
    key, secret = api_keys.create_key("acme", "leaked", KeyGrant(scopes=("locate",)))
    with httpx.Client(
        base_url=job_server.http.base_url,
        headers={"Authorization": f"Bearer {secret}"},
        trust_env=False,
    ) as http:
        files = [("files", (name, photo)) for name, photo in photos.items()]
        running, waiting = (
            http.post("/v1/jobs/locate", files=files, data={"start": start}).json()["job"]["id"]
            for start in ("true", "false")
        )
        other = job_server.create(photos)["job"]["id"]
        job_server.set_chunk_size(2)
        job_server.work(running, chunks=1)
        api_keys.revoke_key("acme", key.id)
        assert http.get(f"/v1/jobs/{running}").status_code == 401
    stopped = job_server.work(running)
    assert (stopped["state"], stopped["counts"]["canceled"]) == ("canceled", 4)
    assert len(job_server.lines(running)) == 2
    assert {line["error"]["code"] for line in job_server.lines(running, "errors")} == {
        "key_revoked"
    }
    # A job that is never claimed is found by the recovery run; other keys are not affected.
    get_repository(job_server.stack.worker).expire_jobs()
    assert job_server.finish(waiting)["state"] == "canceled"
    assert job_server.work(other)["counts"]["completed"] == len(photos)
    assert job_server.photos() == []


def test_restricted_key_gets_coarse_answers_and_sees_its_own_jobs_only(job_server, photos):
    exact = job_server.create(photos)["job"]["id"]
    grant = KeyGrant(scopes=("locate",), min_radius_m=50_000)
    _, secret = job_server.stack.worker.api_keys.create_key("acme", "coarse", grant)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=job_server.http.base_url, headers=headers, trust_env=False) as http:
        (name, photo), *_ = photos.items()
        files = {"files": (name, photo)}
        created = http.post("/v1/jobs/locate", files=files, data={"start": "true"})
        coarse = created.json()["job"]["id"]
        for job_id in (exact, coarse):
            job_server.work(job_id)
        for path in ("", "/items", "/results", "/errors"):
            assert http.get(f"/v1/jobs/{exact}{path}").status_code == 404
            assert http.get(f"/v1/jobs/{coarse}{path}").status_code == 200
        for action in ("start", "cancel"):
            assert http.post(f"/v1/jobs/{exact}/{action}").status_code == 404
        assert http.delete(f"/v1/jobs/{exact}").status_code == 404
        assert [job["id"] for job in http.get("/v1/jobs").json()["jobs"]] == [coarse]
        line = json.loads(http.get(f"/v1/jobs/{coarse}/results").text)
        direct = http.post("/v1/locate", files={"photo": photo}, timeout=60).json()
    answer = line["answer"]
    assert answer["point"] == direct["point"]
    assert answer["candidates"] == []
    assert answer["timings_ms"] == {}
    job = job_server.http.get(f"/v1/jobs/{exact}").json()
    assert job["counts"]["completed"] == len(photos)
    exact_answer = json.loads(job_server.http.get(f"/v1/jobs/{exact}/results").text.splitlines()[0])
    assert exact_answer["answer"]["candidates"]
