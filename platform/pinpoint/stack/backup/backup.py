"""Backup of one database snapshot, the blobs that its rows reference, bundles and thresholds.

The key of the webhooks' secrets is included, because rows without it are useless after a restore.
The index is not included: a restore builds it from the rows. Files that a source keeps by
reference are not included, because they are not stored by Pinpoint. The stack keeps working during
a backup; only deletions of blobs wait.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from pinpoint import __version__
from pinpoint.atomic_files import sync_folder
from pinpoint.errors import BadRequestError, ConflictError, StackError, describe_cause
from pinpoint.nets.bundle.bundles import find_bundle, resolve_bundle
from pinpoint.nets.bundle.contract import CONTRACT_FILE
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.settings import Settings
from pinpoint.stack.backup import archive, dumps
from pinpoint.stack.backup.archive import ArchiveWriter, FolderArchiveWriter, TarArchiveWriter
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import PostgresServer
from pinpoint.stack.state import stack_lock
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.stack.supervisor.running import missing_stack

BACKUP_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Content of `manifest.json`.

    Args:
        format: Version of the backup format.
        pinpoint: Version of Pinpoint that wrote the backup.
        made_at: Time of the backup, ISO 8601 in UTC.
        revision: Schema revision of the database dump.
        postgres: Version of the PostgreSQL server.
        bundle: Name of the bundle in use; PINPOINT_BUNDLE needs this value after a restore.
        contract: Digest of the contract that produced the vectors in the rows.
        counts: Number of rows by table.
        blobs: Number of blobs.
        bytes: Total size of all files.
        sums_sha256: SHA-256 of `SHA256SUMS`, which lists those of all other files.
    """

    format: int
    pinpoint: str
    made_at: str
    revision: str
    postgres: str
    bundle: str
    contract: str
    counts: dict[str, int]
    blobs: int
    bytes: int
    sums_sha256: str

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Parse `manifest.json`.

        Raises:
            BadRequestError: The text is not a manifest, or has another format version.
        """
        try:
            loaded = json.loads(text)
            manifest = cls(**{field.name: loaded[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequestError(
                f"{archive.MANIFEST} is not the manifest of a backup: {error!r}"
            ) from error
        if manifest.format != BACKUP_FORMAT:
            raise BadRequestError(
                f"the backup has format {manifest.format}, this version reads {BACKUP_FORMAT}: "
                "restore it with the version that wrote it"
            )
        return manifest


def write_backup(settings: Settings, target: Path, on_message: lifecycle.OnMessage) -> Manifest:
    """Write a backup; the target appears only when it is complete.

    Args:
        settings: Settings of the stack, which may be up or down.
        target: A file (`….tar`) or a folder; it must not exist.
        on_message: Called with progress messages.

    Raises:
        ConflictError: The target exists, or another backup is running.
        StackError: A file cannot be read or written.
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    target = target.expanduser().absolute()
    archive.require_free_path(target)
    paths = StackPaths(settings.services.home)
    if not settings.services.database_url and not paths.pgdata.exists():
        raise missing_stack(paths.home)
    with open_database(settings, paths) as (url, pgdata), dumps.hold_snapshot(url) as snapshot:
        # In the folder of the target, so that the last step is a rename. The database lock of the
        # snapshot keeps other backups out.
        work = target.with_name(f".{target.name}.part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            manifest = _write_parts(
                settings, paths, work, target, snapshot, (url, pgdata), on_message
            )
            (work / "whole").replace(target)
        except OSError as error:
            raise StackError(
                f"the backup cannot be written next to {target}: {describe_cause(error)}"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    sync_folder(target.parent)
    return manifest


def _write_parts(
    settings: Settings,
    paths: StackPaths,
    work: Path,
    target: Path,
    snapshot: dumps.Snapshot,
    database: tuple[str, Path | None],
    on_message: lifecycle.OnMessage,
) -> Manifest:
    on_message("dumping the database")
    dumped = work / archive.DUMP
    dumps.write_dump(database[0], dumped, snapshot, database[1])
    in_use, folders = _list_bundles(settings, paths)
    output = work / "whole"
    writer: ArchiveWriter = (
        TarArchiveWriter(output) if target.suffix == ".tar" else FolderArchiveWriter(output)
    )
    with closing(writer):
        packer = _BackupPacker(writer)
        packer.add(archive.DUMP, dumped)
        dumped.unlink()
        packer.add(archive.WEBHOOK_KEY, paths.webhook_key_file)
        _add_bundles(packer, folders, on_message)
        for threshold in sorted(paths.verification_dir.glob("*.json")):
            packer.add(f"verification/{threshold.name}", threshold)
        blobs = _add_blobs(packer, paths, on_message)
        lines = "".join(f"{digest}  {name}\n" for name, digest in packer.sums.items()).encode()
        manifest = Manifest(
            format=BACKUP_FORMAT,
            pinpoint=__version__,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            revision=snapshot.revision,
            postgres=snapshot.server,
            bundle=in_use[0],
            contract=in_use[1],
            counts=snapshot.counts,
            blobs=blobs,
            bytes=packer.bytes,
            sums_sha256=writer.put(archive.CHECKSUMS, io.BytesIO(lines), len(lines)),
        )
        text = json.dumps(asdict(manifest), indent=2).encode() + b"\n"
        writer.put(archive.MANIFEST, io.BytesIO(text), len(text))
        return manifest


def _add_bundles(
    packer: _BackupPacker, folders: Mapping[str, Path], on_message: lifecycle.OnMessage
) -> None:
    for name, folder in folders.items():
        on_message(f"packing bundle {name}")
        for path in sorted(folder.iterdir()):
            if path.is_file():
                packer.add(f"bundles/{name}/{path.name}", path)


def _add_blobs(packer: _BackupPacker, paths: StackPaths, on_message: lifecycle.OnMessage) -> int:
    blobs = 0
    for path in sorted(paths.blobs_dir.glob("*/*/*")):
        blobs += packer.add(f"blobs/{path.relative_to(paths.blobs_dir).as_posix()}", path)
        if blobs and blobs % 1_000 == 0:
            on_message(f"packed {blobs} blobs")
    return blobs


class _BackupPacker:
    """Adds files to a backup and records their digests and total size."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self.sums: dict[str, str] = {}
        self.bytes = 0

    def add(self, name: str, path: Path) -> bool:
        """Add a file; return whether it was added.

        A file that was deleted after the listing is skipped: no row references it any more. A file
        with an unknown name (of an editor or a file manager) is skipped too.
        """
        if not archive.is_backup_file(name):
            return False
        try:
            file: IO[bytes] = path.open("rb")
        except FileNotFoundError:
            return False
        with file:
            size = os.fstat(file.fileno()).st_size
            self.sums[name] = self._writer.put(name, file, size)
        self.bytes += size
        return True


def _find_bundle_in_use(settings: Settings, paths: StackPaths) -> str:
    """Name of the bundle of the embedded index; without one, the bundle of the settings."""
    live = None if settings.services.qdrant_url else paths.live_contract()
    if live is None:
        return settings.encoder.bundle
    return resolve_bundle(live, paths.home, settings.media.rendition_px, settings.encoder.bundle)


def _list_bundles(
    settings: Settings, paths: StackPaths
) -> tuple[tuple[str, str], Mapping[str, Path]]:
    """Name and contract digest of the bundle in use, and the folders of all bundles by name."""
    bundle_name = _find_bundle_in_use(settings, paths)
    bundle = find_bundle(bundle_name, paths.home)
    digest = public_contract(bundle.contract, settings.media.rendition_px).digest
    folders = {
        path.parent.name: path.parent
        for path in sorted(paths.bundles_dir.glob(f"*/{CONTRACT_FILE}"))
    }
    if bundle.weights is None:
        return (bundle_name, digest), folders
    folder = bundle.weights.parent.resolve()
    for name, bundle_folder in folders.items():
        if bundle_folder.resolve() == folder:
            return (name, digest), folders
    name = folder.name if folder.name not in folders else f"{folder.name}-{digest[:8]}"
    if not archive.is_backup_file(f"bundles/{name}/{CONTRACT_FILE}"):
        name = bundle.contract.name
    return (name, digest), {**folders, name: folder}


@contextmanager
def open_database(
    settings: Settings, paths: StackPaths, *, alone: bool = False
) -> Iterator[tuple[str, Path | None]]:
    """Yield the owner role's URL and the data directory; run the private server if it is down.

    Args:
        settings: Settings of the stack, with the URL of an external database.
        paths: Paths of the stack.
        alone: No other process of the stack may run, and none can be started inside.

    Raises:
        ConflictError: `alone` is set and another process runs.
        StackError: The server cannot be started.
    """
    if settings.services.database_url:
        url = settings.services.database_url
        if alone and dumps.count_other_clients(url):
            raise ConflictError(
                f"{dumps.count_other_clients(url)} other clients are connected to the database: "
                "stop every API and worker first"
            )
        yield url, None
        return
    server = PostgresServer(paths)
    if not alone and paths.pgdata.exists() and server.ready():
        yield paths.owner_url(), paths.pgdata
        return
    paths.create()
    with stack_lock(paths.lock_file):
        if processes.find_stack_processes(paths):
            raise ConflictError(
                f"processes of the stack in {paths.home} are running: run `pinpoint down` first"
            )
        server.start()
        try:
            server.prepare()
            yield paths.owner_url(), paths.pgdata
        finally:
            server.stop()
