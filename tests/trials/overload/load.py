"""Concurrent queries and uploads, and the outcome of each."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

PIECE = 65_536


@dataclass
class Outcome:
    """The outcome of one request."""

    status: int
    seconds: float
    said: Any = None
    retry_after: str | None = None


@dataclass
class Seen:
    """Measurements during the load."""

    liveness_s: list[float] = field(default_factory=list)
    unanswered: int = 0
    rss_mb: float = 0.0

    def show(self, name: str) -> None:
        """Print the figures."""
        sys.stdout.write(
            f"{name}: liveness {len(self.liveness_s)} times, median "
            f"{1e3 * statistics.median(self.liveness_s):.1f} ms, most "
            f"{1e3 * max(self.liveness_s):.1f} ms, unanswered {self.unanswered}; "
            f"API resident at most {self.rss_mb:.0f} MB\n"
        )


@contextmanager
def watched(url: str, api_pid: int) -> Iterator[Seen]:
    """Measure liveness and the API's memory while the body runs; complete afterwards."""
    parts = urlsplit(url)
    script = Path(__file__).with_name("liveness.py")
    asker = subprocess.Popen(
        [sys.executable, str(script), str(parts.hostname), str(parts.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen, stop = Seen(), threading.Event()

    def sample() -> None:
        process = psutil.Process(api_pid)
        while not stop.wait(0.1):
            seen.rss_mb = max(seen.rss_mb, process.memory_info().rss / 2**20)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        stop.set()
        sampler.join()
        out, _ = asker.communicate("", timeout=60)
        lines = json.loads(out)
        seen.liveness_s = [seconds for _, seconds, status in lines if status == 200]
        seen.unanswered = sum(status != 200 for _, _, status in lines)


def ask_many(
    url: str, keys: list[str], photos: list[bytes], uploads: list[tuple[str, str, Path]]
) -> tuple[list[Outcome], list[Outcome]]:
    """Send all queries and all files concurrently; returns the outcomes in order.

    Args:
        url: Of the API.
        keys: Taken in turn.
        photos: One query per photo.
        uploads: Key, batch and file of each.
    """

    async def run() -> tuple[list[Outcome], list[Outcome]]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=url, timeout=120, limits=limits, trust_env=False
        ) as client:
            requests = [
                _post(client, "/v1/locate", keys[n % len(keys)], files={"photo": ("q.jpg", photo)})
                for n, photo in enumerate(photos)
            ]
            sent = [_upload(client, *one) for one in uploads]
            outcomes = await asyncio.gather(*requests, *sent)
        return list(outcomes[: len(requests)]), list(outcomes[len(requests) :])

    return asyncio.run(run())


async def _upload(client: httpx.AsyncClient, key: str, batch: str, path: Path) -> Outcome:
    with path.open("rb") as file:
        return await _post(
            client, f"/v1/batches/{batch}/images", key, files=[("files", (path.name, file))]
        )


async def _post(client: httpx.AsyncClient, path: str, key: str, **parts: Any) -> Outcome:
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {key}"}
    answer = await client.post(path, headers=headers, **parts)
    return Outcome(
        status=answer.status_code,
        seconds=time.monotonic() - began,
        said=answer.json(),
        retry_after=answer.headers.get("retry-after"),
    )


def send_until_answered(url: str, head: str, size: int) -> tuple[int, str]:
    """Send a body until an answer comes; returns the bytes read by the API, and the status line.

    Bytes in the queues of the system were not read. The queues are read a moment after the answer,
    so that bytes read after it count as well.
    """
    parts = urlsplit(url)
    sent = 0
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as plain:
        plain.sendall(head.encode())
        plain.setblocking(False)
        began = time.monotonic()
        while sent < size and time.monotonic() < began + 30:
            try:
                answer = plain.recv(4096)
                time.sleep(0.5)
                taken = sent - queued_bytes(plain.getsockname()[1])
                return taken, answer.split(b"\r\n")[0].decode()
            except BlockingIOError:
                pass
            with suppress(BlockingIOError):
                sent += plain.send(b" " * PIECE)
            time.sleep(0.001)
    return sent, "no answer"


def queued_bytes(client_port: int) -> int:
    """Bytes on the way from a local port: not sent yet, or sent and not read."""
    queued = 0
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        to_send, to_read = (int(one, 16) for one in queues.split(":"))
        if int(local.split(":")[1], 16) == client_port:
            queued += to_send
        elif int(remote.split(":")[1], 16) == client_port:
            queued += to_read
    return queued


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process and all below it while the body runs."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for one in family:
        os.kill(one.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in family:
            os.kill(one.pid, signal.SIGCONT)
