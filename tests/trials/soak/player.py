"""Runs the script as clients and operators do: a call with a documented error is retried."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from pinpoint import errors
from pinpoint.cli.api_client import ApiClient
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client.transport import HttpTransport
from registration import register_folder
from trials.soak.fault_stack import FaultStack, patiently
from trials.soak.script import FOLDERS, SOURCES, Op, write

PATIENCE_S = 120.0
STATED = (errors.UnavailableError, errors.StackError)


class LostError(AssertionError):
    """Work did not complete in time."""


@dataclass
class Player:
    """Runs the script for one organization."""

    stack: FaultStack
    name: str
    folder: Path
    organization_id: UUID = field(init=False)
    sources: dict[str, str] = field(default_factory=dict)
    batches: dict[str, list[str]] = field(default_factory=dict)
    """Batches of each operation; more than one only where a folder was registered again."""
    retries: Counter[str] = field(default_factory=Counter)
    unstated: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clients = threading.local()
        self._opened: list[ApiClient] = []
        owner = Transactions(owner_engine(self.stack.paths.owner_url()))
        self._operator = CatalogDatabase(owner, self.stack.settings.worker.task_batch_size)
        self.organization_id = ApiKeyStore(owner).create_organization(self.name).id

    def close(self) -> None:
        for client in self._opened:
            client.close()
        self._operator.close()

    # --- calls -------------------------------------------------------------------------------

    def _open_client(self) -> ApiClient:
        client = getattr(self._clients, "client", None)
        if client is None:
            state = read_state(self.stack.paths)
            assert state is not None
            key = self.stack.paths.operator_key_file.read_text().strip()
            client = ApiClient(HttpTransport(state.api_url, key, self.name, embedded=True))
            self._clients.client = client
            self._opened.append(client)
        return client

    def call(self, what: str, ask: Callable[[ApiClient], Any]) -> Any:
        """One call, retried while the stack is not available."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask(self._open_client())
            except STATED as error:
                self.retries[what] += 1
                if time.monotonic() > until:
                    raise LostError(f"{what} failed for {PATIENCE_S:g} s: {error}") from error
            except errors.PinpointError as error:
                if type(error) is not errors.PinpointError:
                    raise
                # A 500 is retried and recorded as an undocumented error.
                self.unstated.append(f"{what}: {error}")
                self.retries[what] += 1
                if time.monotonic() > until:
                    raise LostError(f"{what}: {error}") from error
            client, self._clients.client = self._clients.client, None
            client.close()
            time.sleep(0.25)

    def add_source(self, name: str) -> None:
        kind, originals = SOURCES[name]

        def add(client: ApiClient) -> Any:
            try:
                return client.add_source(name, kind, originals=originals)
            except errors.ConflictError:  # the answer to the first try was lost
                return client.source(name)

        self.sources[name] = self.call("add_source", add)["id"]

    # --- operations --------------------------------------------------------------------------

    def targets(self, phase: list[Op]) -> dict[tuple[str, str], str]:
        """Ids of the images that a phase updates or deletes, read before the faults."""
        rows = self.stack.sql(
            "SELECT s.name, i.external_id, i.id FROM images i JOIN sources s ON s.id = i.source_id"
            " WHERE i.organization_id = %s AND i.state <> 'deleted'",
            self.organization_id,
        )
        # Ids of files from folders begin with the root's name, which is the source's here.
        return {
            (source, external.removeprefix(f"{source}/")): str(image)
            for source, external, image in rows
        }

    def play(self, phase: list[Op], threads: int) -> None:
        """All operations of a phase, several at once."""
        ids = self.targets(phase)
        for op in phase:
            if op.verb in ("upload", "folder") and op.source not in self.sources:
                self.add_source(op.source)
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self._do, op, ids) for op in phase]:
                done.result()

    def _do(self, op: Op, ids: dict[tuple[str, str], str]) -> None:
        if op.verb == "upload":
            self._upload(op)
        elif op.verb == "folder":
            self._folder(op)
        elif op.verb == "erase":
            self._gone(op.name, lambda client: client.erase_source(self.sources[op.source]))
        for external, fields in op.ids.items():
            image = ids[op.source, external]
            if op.verb == "fix":
                self.call(op.name, partial(_update_image, image=image, fields=fields))
            else:
                self._gone(op.name, partial(_delete_image, image=image))

    def _gone(self, what: str, ask: Callable[[ApiClient], Any]) -> None:
        def once(client: ApiClient) -> None:
            try:
                ask(client)
            except errors.NotFoundError:
                if not self.retries[what]:
                    raise

        self.call(what, once)

    def _upload(self, op: Op) -> None:
        files = list(op.files().items())
        batch = self.call(op.name, lambda client: client.open_batch(op.source))["id"]
        self.batches[op.name] = [batch]
        for start in range(0, len(files), 9):
            part = dict(files[start : start + 9])
            self.call(op.name, partial(self._send_part, op=op, batch=batch, part=part))
        self.call(op.name, lambda client: client.close_batch(batch))

    def _send_part(self, client: ApiClient, op: Op, batch: str, part: dict[str, bytes]) -> None:
        if self.retries[op.name]:
            # An answer was lost: files that were received are not sent again.
            there = {one["file"] for one in client.items(batch, limit=1000)["items"]}
            part = {name: data for name, data in part.items() if name not in there}
        if part:
            metadata_overrides = {
                name: op.metadata_overrides[name] for name in part if name in op.metadata_overrides
            }
            client.upload(batch, part, metadata_overrides or None)

    def _folder(self, op: Op) -> None:
        folder = self.folder / op.source
        write(folder, op.files())

        def register() -> str:
            return str(
                register_folder(
                    folder,
                    source=op.source,
                    organization_id=self.organization_id,
                    database=self._operator,
                    settings=self.stack.settings,
                ).id
            )

        began = {row[0] for row in self._batches(op.source)}
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                register()
                break
            except errors.UnavailableError as error:
                self.retries[op.name] += 1
                if time.monotonic() > until:
                    raise LostError(f"{op.name}: {error}") from error
                time.sleep(0.25)
        self.batches[op.name] = sorted(
            str(row[0]) for row in self._batches(op.source) if row[0] not in began
        )

    def _batches(self, source: str) -> list[Any]:
        return self.stack.sql(
            "SELECT id FROM batches WHERE organization_id = %s AND source_id = %s",
            self.organization_id,
            self.sources[source],
        )

    # --- waiting -----------------------------------------------------------------------------

    def unsettled(self) -> dict[str, int]:
        """The amount of the organization's unfinished work."""
        rows = self.stack.sql(
            "SELECT (SELECT count(*) FROM batch_items WHERE organization_id = %s"
            "          AND status IN ('received', 'stored')),"
            "       (SELECT count(*) FROM images WHERE organization_id = %s"
            "          AND state IN ('pending', 'deleted')),"
            "       (SELECT count(*) FROM sources WHERE organization_id = %s"
            "          AND erased_at IS NOT NULL)",
            *[self.organization_id] * 3,
        )
        return dict(zip(("items", "images", "sources"), rows[0], strict=True))

    def settle(self, limit_s: float) -> float:
        """Wait until every file has its verdict and every deletion is done; seconds it took."""
        began = time.monotonic()
        while any((left := self.unsettled()).values()):
            if time.monotonic() - began > limit_s:
                raise LostError(f"not settled after {limit_s:g} s: {left}")
            time.sleep(0.2)
        return time.monotonic() - began


def _update_image(client: ApiClient, image: str, fields: dict[str, Any]) -> Any:
    return client.update(image, **fields)


def _delete_image(client: ApiClient, image: str) -> Any:
    return client.delete(image)


def prepare(player: Player) -> None:
    """Sources that folders need before the first phase."""
    for name in FOLDERS:
        patiently(partial(player.add_source, name), errors.UnavailableError, PATIENCE_S)
