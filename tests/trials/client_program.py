"""The work of an engineer with the installed client: from a new organization to a revoked key.

    python client_program.py GALLERY QUERIES WEBHOOK_URL SOURCE

`test_client_workflow.py` runs it in an environment that has the wheel of the client and no package
of the server. The stack is that of `PINPOINT_HOME`. Each step checks that its counts add up; the
last line is a JSON document with what the trial checks from outside.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pinpoint_client import Client, PinpointError, connect, connect_async, errors
from pinpoint_client.answers import Batch, Image, Key
from pinpoint_client.job_answers import Job

ORGANIZATION: Final = "survey"
CANCEL_AFTER: Final = 10
"""Results of the other job before it is canceled."""
DIRECT_QUERIES: Final = 8
WAIT_S: Final = 900.0
PAGE_SIZE: Final = 37


def main() -> None:
    """Run all steps."""
    gallery, queries = map(Path, sys.argv[1:3])
    webhook_url, source = sys.argv[3:]
    assert importlib.util.find_spec("pinpoint") is None
    report: dict[str, Any] = {"seconds": {}}
    with connect() as operator:
        server, admin_secret = operator.server, create_organization(operator)
        with connect(server, admin_secret) as admin:
            secrets, keys = create_keys(operator, admin)
            added = admin.add_webhook(webhook_url)
            report |= {"webhook_id": str(added.webhook.id), "webhook_secret": added.secret}
            admin.send_test_event(added.webhook.id)
            with time_step(report, "ingest"), connect(server, secrets["ingest"]) as client:
                report["batch"] = ingest_gallery(client, gallery, source)
            with time_step(report, "page"), connect(server, secrets["locate"]) as client:
                report["images"] = page_through_images(client, source)
            with time_step(report, "jobs"), connect(server, secrets["locate"]) as client:
                report["jobs"] = run_jobs(client, queries)
            with time_step(report, "query"):
                report["located"] = asyncio.run(
                    locate_directly(server, secrets["locate"], queries, source)
                )
            report["audited"] = len(list(admin.audit_rows(operation="locate", limit=50)))
            report["deliveries"] = wait_for_deliveries(admin, added.webhook.id)
            revoke_key(admin, keys["locate"], server, secrets["locate"])
            delete_job(admin, report["jobs"]["canceled"]["id"])
    sys.stdout.write(f"{json.dumps(report)}\n")


@contextmanager
def time_step(report: dict[str, Any], name: str) -> Iterator[None]:
    """Record the duration of a step in seconds."""
    start_s = time.monotonic()
    yield
    report["seconds"][name] = round(time.monotonic() - start_s, 1)


def create_organization(operator: Client) -> str:
    """Create the organization and its admin key; return the secret."""
    created = operator.create_organization(ORGANIZATION)
    assert operator.organization(ORGANIZATION).id == created.id
    assert ORGANIZATION in {entry.name for entry in operator.organizations(limit=1)}
    key = operator.create_key("administrator", role="admin", organization=ORGANIZATION)
    assert [listed.id for listed in operator.keys(organization=created.id)] == [key.key.id]
    return key.secret


def create_keys(operator: Client, admin: Client) -> tuple[dict[str, str], dict[str, Key]]:
    """Create a key for each task by the admin key, rotate one; return secrets and keys."""
    roles = {"ingest": "contributor", "locate": "analyst"}
    created = {name: admin.create_key(name, role=role) for name, role in roles.items()}
    secrets = {name: key.secret for name, key in created.items()}
    keys = {name: key.key for name, key in created.items()}
    secrets["ingest"] = admin.rotate_key(keys["ingest"].id).secret
    expect_unauthenticated(admin.server, created["ingest"].secret)
    assert len(list(admin.keys(limit=2))) == 3
    operator.set_key_limits(keys["locate"].id, concurrent_jobs=2)
    with connect(admin.server, secrets["locate"]) as client:
        assert client.limits().limits.concurrent_jobs == 2
    return secrets, keys


def ingest_gallery(client: Client, folder: Path, source: str) -> dict[str, Any]:
    """Ingest the images with upload progress; return the counts."""
    client.add_source(source, "photo", license="CC0-1.0", idempotency_key=f"add-{source}")
    sent: list[tuple[int, int | None]] = []
    states: list[Batch] = []

    def record_state(batch: Batch) -> None:
        check_batch(batch)
        states.append(batch)

    batch = client.ingest_folder(
        folder,
        source=source,
        wait=True,
        on_progress=record_state,
        on_upload=lambda done, total: sent.append((done, total)),
    )
    check_batch(batch)
    assert batch.is_processed
    assert batch.not_sent == []
    # The bytes of each request grow to its size.
    assert all(total is not None and 0 < done <= total for done, total in sent)
    requests = sum(done == total for done, total in sent)
    uploaded = sum(done for done, total in sent if done == total)
    assert uploaded > sum(path.stat().st_size for path in folder.iterdir())
    positions = [item.position for item in client.items(batch.id, limit=PAGE_SIZE)]
    assert positions == list(range(1, batch.items + 1))
    return {
        "items": batch.items,
        "indexed": batch.indexed,
        "requests": requests,
        "states": len(states),
    }


def check_batch(batch: Batch) -> None:
    """Each file of a batch is in exactly one state."""
    states = (batch.received, batch.stored, batch.indexed, batch.updated, batch.duplicate)
    ends = (batch.rejected, batch.failed, batch.canceled)
    assert sum(states) + sum(ends) == batch.items, batch


def page_through_images(client: Client, source: str) -> int:
    """Iterate over all pages; each image occurs once. Return the number of images."""
    images: list[Image] = list(client.images(source=source, limit=PAGE_SIZE))
    assert len({image.id for image in images}) == len(images)
    assert len({image.file_name for image in images}) == len(images)
    assert client.source(source).images == len(images)
    return len(images)


def run_jobs(client: Client, queries: Path) -> dict[str, Any]:
    """Locate all photos as a job; cancel another job of the same photos, and keep its results."""
    names = sorted(path.name for path in queries.iterdir())
    states: list[Job] = []
    job = client.locate_as_job(queries, parameters={"top": 3}, on_progress=states.append)
    other = client.locate_as_job(queries, on_progress=states.append)
    for state in states:
        check_job(state)
    # A third job is beyond the limit of the key.
    expect_error(errors.QuotaExceededError, 429, lambda: client.locate_as_job(queries))
    until = time.monotonic() + WAIT_S
    while client.jobs.get(other.id).counts.completed < CANCEL_AFTER:
        assert time.monotonic() < until
        time.sleep(0.1)
    check_job(client.jobs.cancel(other.id))
    ended = client.jobs.wait(job.id, timeout_s=WAIT_S, on_progress=check_job)
    canceled = client.jobs.wait(other.id, timeout_s=WAIT_S, on_progress=check_job)
    for finished in (ended, canceled):
        assert finished.has_ended
        check_lines(client, finished, names)
    saved = client.jobs.save_results(ended.id, queries.parent / "results.ndjson")
    assert saved.rows == ended.counts.completed == len(saved.path.read_text().splitlines())
    jobs = {ended.id, canceled.id}
    assert {listed.id for listed in client.jobs.list(limit=1)} == jobs
    return {
        "ended": json.loads(ended.model_dump_json()),
        "canceled": json.loads(canceled.model_dump_json()),
    }


def check_job(job: Job) -> None:
    """Each item of a job is in exactly one state."""
    counts = job.counts
    ends = counts.completed + counts.failed + counts.canceled
    assert ends + counts.open == counts.total, job


def check_lines(client: Client, job: Job, names: list[str]) -> None:
    """Results, errors and items name each photo exactly once."""
    results, lines = list(client.jobs.results(job.id)), list(client.jobs.errors(job.id))
    assert len(results) == job.counts.completed
    assert len(lines) == job.counts.failed + job.counts.canceled
    assert sorted(str(line.file) for line in (*results, *lines)) == names
    assert all(line.answer is not None and line.answer.point is not None for line in results)
    items = list(client.jobs.items(job.id, limit=PAGE_SIZE))
    assert [item.file for item in items] == names
    assert not any(item.is_uploaded for item in items)


async def locate_directly(server: str, secret: str, queries: Path, source: str) -> int:
    """Locate some photos at the same time; return the number of answers."""
    photos = sorted(queries.iterdir())[:DIRECT_QUERIES]
    async with connect_async(server, secret) as client:
        located = await asyncio.gather(
            *(client.locate(photo, sources=[source], top=2) for photo in photos)
        )
        pages = [image.id async for image in client.images(source=source, limit=PAGE_SIZE)]
    assert len(set(pages)) == len(pages)
    return sum(answer.point is not None for answer in located)


def wait_for_deliveries(admin: Client, webhook_id: object) -> dict[str, str]:
    """Wait until no delivery is pending; return the status of each type of event."""
    until = time.monotonic() + 60.0
    while True:
        deliveries = list(admin.webhook_deliveries(str(webhook_id), limit=2))
        if not any(delivery.status == "pending" for delivery in deliveries):
            return {delivery.event_type: delivery.status for delivery in deliveries}
        assert time.monotonic() < until, deliveries
        time.sleep(0.2)


def revoke_key(admin: Client, key: Key, server: str, secret: str) -> None:
    """Revoke a key; the next request of an open client is rejected."""
    with connect(server, secret) as client:
        client.limits()
        admin.revoke_key(key.id)
        expect_error(errors.UnauthenticatedError, 401, client.limits)
    assert admin.key(key.id).revoked_at is not None
    expect_unauthenticated(server, secret)


def expect_unauthenticated(server: str, secret: str) -> None:
    """Check that a secret is rejected."""
    with connect(server, secret) as client:
        expect_error(errors.UnauthenticatedError, 401, lambda: list(client.sources()))


def expect_error(kind: type[PinpointError], status: int, send: Callable[[], object]) -> None:
    """Check that a call raises an error with this status."""
    try:
        send()
    except kind as error:
        raised = error
    else:
        raise AssertionError(f"no {kind.__name__}")
    assert raised.status == status, raised


def delete_job(admin: Client, job_id: str) -> None:
    """Delete a job with its results."""
    admin.jobs.delete(job_id)
    expect_error(errors.NotFoundError, 404, lambda: admin.jobs.get(job_id))


if __name__ == "__main__":
    main()
