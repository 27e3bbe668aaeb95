"""A stack without supervisor, API and beat: database, index owner and commands.

The code of worker and API runs in this process with the database roles of worker and API.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text

from index_process import until
from nets.towers import timm_bundle
from pinpoint.bootstrap import build_services
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import IndexUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.records import Answer, SearchFilter
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.search.pipeline import locate
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.rows import unpack_vector
from pinpoint.store.vectors.rpc.client import RemoteIndex
from registration import register_folder
from stack_fixtures import write_photos

WORKER = "host/1/0.00"
PHOTOS = 24


class SmallStack:
    """Services of one home; call `close` at the end."""

    tiny: EncoderHandle
    descriptor: EncoderHandle
    folder: Path

    def __init__(self, home: Path, database_url: str, api_database_url: str, redis: str) -> None:
        self.paths = StackPaths(home)
        self.paths.create()
        self.environment = {
            **{name: value for name, value in os.environ.items() if "PINPOINT" not in name},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PINPOINT_HOME": str(home),
            "PINPOINT_DATABASE_URL": database_url,
            "PINPOINT_API_DATABASE_URL": api_database_url,
            "PINPOINT_BROKER_URL": redis,
            "PINPOINT_BUNDLE": "descriptor",
            "PINPOINT_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        self.settings = Settings(
            services=ServiceSettings(
                home=home,
                database_url=database_url,
                api_database_url=api_database_url,
                broker_url=redis,
            ),
            encoder=EncoderSettings(bundle="descriptor", device="cpu"),
        )
        self._log = (home / "owner.log").open("a")
        self._owner = subprocess.Popen(
            [sys.executable, "-m", "pinpoint.stack.index.owner"],
            env=self.environment,
            stderr=self._log,
        )
        self.worker, self.api = (build_services(self.settings, role) for role in ("worker", "api"))
        until(self._answers)
        self.worker.ensure_index()
        self.organization_id = self.worker.api_keys.create_organization("acme").id

    def _answers(self) -> bool:
        assert isinstance(self.worker.index, RemoteIndex)
        try:
            self.worker.index.ping()
        except IndexUnavailableError:
            return False
        return True

    def register(
        self,
        folder: Path,
        organization_id: UUID | None = None,
        source: str = "photos",
        kind: str = "photo",
    ) -> list[UUID]:
        """Record a folder's files as items of a batch, by default of the first organization."""
        batch = register_folder(
            folder,
            source=source,
            kind=kind,
            organization_id=organization_id or self.organization_id,
            database=self.worker.database,
            settings=self.settings,
        )
        statement = "SELECT id FROM batch_items WHERE batch_id = :batch ORDER BY ingest_seq"
        return [row.id for row in self.rows(statement, batch=batch.id)]

    def ingest(self, folder: Path, *options: Any, **named: Any) -> None:
        """Ingest a folder as a worker does; options as `register`."""
        ids = self.register(folder, *options, **named)
        self.worker.ensure_index()
        self.worker.with_current_encoder(
            lambda _: pipeline.ingest_items(ids, WORKER, self.worker.ingest_components())
        )

    def locate(self, photo: Path) -> Answer:
        """Locate a photo as the API does."""
        query = QueryPhoto(data=photo.read_bytes(), file=photo.name)
        return self.api.with_current_encoder(
            lambda encoder: locate(
                query,
                SearchFilter(),
                SearchContext(
                    organization_id=self.organization_id,
                    decoder=self.api.decoder,
                    encoder=encoder,
                    index=self.api.index,
                    database=self.api.database,
                    settings=self.settings.search,
                ),
            )
        )

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a `pinpoint` command."""
        return subprocess.Popen(
            [sys.executable, "-m", "pinpoint.cli", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> Any:
        """Run a command to its end; returns its JSON document, or stderr if `code` is not 0."""
        out, error = (process := self.command(*arguments)).communicate(timeout=100)
        assert process.returncode == code, error
        return json.loads(out) if code == 0 else error

    def kill_when(self, process: subprocess.Popen[str], ripe: Callable[[], bool]) -> None:
        """`kill -9` a command when a condition is true."""
        end = time.monotonic() + 60
        while not ripe():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "the moment does not come"
            time.sleep(0.01)
        process.kill()
        process.communicate()

    def rows(self, statement: str, **values: object) -> list[Any]:
        """Rows, read as the owner."""
        assert self.worker.rebuild_source is not None
        with self.worker.rebuild_source._transactions.begin() as unit:
            return list(unit.connection.execute(text(statement), values))

    def vectors(self, contract: str) -> dict[UUID, np.ndarray]:
        """Vectors of a contract in PostgreSQL by image id."""
        statement = "SELECT image_id, vector FROM embeddings WHERE contract = :contract"
        return {
            row.image_id: unpack_vector(row.vector)
            for row in self.rows(statement, contract=contract)
        }

    def live(self) -> set[UUID]:
        """Images that are not deleted."""
        return {row.id for row in self.rows("SELECT id FROM images WHERE state <> 'deleted'")}

    def held(self) -> tuple[set[UUID], str | None]:
        """Images of the index that PostgreSQL has, and the contract of the index."""
        scrolled = self.api.index.scroll(None, 1_000)
        return {row[0] for row in scrolled if row[2]}, self.api.index.info().contract

    def close(self) -> None:
        self.worker.close()
        self.api.close()
        self._owner.terminate()
        self._owner.wait(20)
        self._log.close()
        shutil.rmtree(self.paths.socket_dir, ignore_errors=True)


def two_bundles(stack: SmallStack, folder: Path) -> SmallStack:
    """Ingest photos with the descriptor bundle, and add a tiny tower as a second bundle."""
    bundle = timm_bundle(stack.paths.home / "bundles" / "tiny")
    stack.tiny = EncoderHandle(stack.settings, str(bundle))
    stack.descriptor = stack.api.encoders.configured
    stack.folder = folder
    write_photos(folder, PHOTOS)
    stack.ingest(folder)
    return stack
