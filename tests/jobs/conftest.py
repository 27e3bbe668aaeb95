"""A small stack with a gallery and its API on loopback, once per session."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn

from index_process import until
from pinpoint.api.app import create_app
from pinpoint.geo import gazetteer
from pinpoint.jobs import locate_items
from pinpoint.records import KeyGrant
from pinpoint_workers.jobs import get_repository, make_components
from small_stack import SmallStack
from stack_fixtures import jpeg, write_photos

TEMPLATE = "template_pinpoint"
WORKER = "host/1/0.00"


@dataclass
class JobServer:
    """The API, and the code of the jobs worker in this process."""

    stack: SmallStack
    http: httpx.Client

    def create(self, files: dict[str, bytes], **fields: str) -> dict[str, Any]:
        """Create a job from files; returns the body of the response."""
        parts = [("files", (name, data)) for name, data in files.items()]
        response = self.http.post("/v1/jobs/locate", files=parts, data=fields)
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.json()
        return body

    def job(self, job_id: str) -> dict[str, Any]:
        """State and counts of a job; checks that no item is lost."""
        job: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        counts = job["counts"]
        ended = counts["completed"] + counts["failed"] + counts["canceled"]
        assert counts["total"] == ended + counts["open"]
        return job

    def set_chunk_size(self, chunk_size: int) -> None:
        """Change the number of items that the worker claims at once."""
        repository = self.stack.worker.job_repository
        assert repository is not None
        repository._chunk_size = chunk_size

    def work(self, job_id: str, *, chunks: int = 1_000, worker: str = WORKER) -> dict[str, Any]:
        """Work on a job as the task does, for at most some chunks."""
        self.run_tasks(job_id, chunks=chunks, worker=worker)
        return self.job(job_id)

    def run_tasks(self, job_id: str, *, chunks: int = 1_000, worker: str = WORKER) -> None:
        """As `work`, for a job of any organization."""
        components = make_components(self.stack.worker)
        for _ in range(chunks):
            if not locate_items.locate_job_items(UUID(job_id), worker, components):
                locate_items.finish_jobs([UUID(job_id)], components.repository, components.blobs)
                break

    def finish(self, job_id: str) -> dict[str, Any]:
        """End a job without open items as the task does."""
        self.work_deleted(job_id)
        return self.job(job_id)

    def work_deleted(self, job_id: str) -> None:
        """Remove a deleted job as the task does."""
        services = self.stack.worker
        locate_items.finish_jobs([UUID(job_id)], get_repository(services), services.blobs)

    def lines(self, job_id: str, kind: str = "results") -> list[dict[str, Any]]:
        """Results or errors of a job."""
        response = self.http.get(f"/v1/jobs/{job_id}/{kind}")
        assert response.status_code == 200, response.text
        return [httpx.Response(200, content=line).json() for line in response.text.splitlines()]

    def photos(self) -> list[Path]:
        """Blobs of the organization."""
        folder = self.stack.paths.blobs_dir / str(self.stack.organization_id)
        return [path for path in folder.glob("*/*") if path.is_file()]


@pytest.fixture(scope="session")
def job_server(postgres, server_paths, _redis, tmp_path_factory):
    """The server; its gallery has 12 photos that are stored by reference."""
    name = f"j_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    folder = tmp_path_factory.mktemp("jobs")
    stack = SmallStack(
        folder / "home",
        server_paths.owner_url(name),
        server_paths.api_url(name),
        server_paths.broker_url,
    )
    write_photos(folder / "in", 12)
    stack.ingest(folder / "in")
    gazetteer.load_cities()
    _, key = stack.worker.api_keys.create_key("acme", "jobs", KeyGrant(scopes=("locate", "read")))
    server = uvicorn.Server(uvicorn.Config(create_app(stack.api), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=60,
    ) as http:
        yield JobServer(stack, http)
    server.should_exit = True
    thread.join(10)
    stack.close()
    postgres.drop(name)


@pytest.fixture(autouse=True)
def _default_chunk_size(request):
    """Tests change the chunk size of the shared worker."""
    yield
    if "job_server" in request.fixturenames:
        request.getfixturevalue("job_server").set_chunk_size(16)


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Six query photos by name."""
    return {f"walk/{n}.jpg": jpeg(n, 48.85, 2.35 + n / 1_000) for n in range(6)}
