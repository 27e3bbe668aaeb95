"""Restores database, blobs and bundles of a stack from a backup, and rebuilds the index.

The whole backup is checked before anything is changed. The order of the steps keeps the stack
consistent after a crash: blobs are added first (an extra blob is harmless), the database is
replaced in one transaction, and only then blobs without a row are deleted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinpoint.errors import (
    BadBundleError,
    BadRequestError,
    ConflictError,
    StackError,
    describe_cause,
)
from pinpoint.nets.bundle.bundles import find_bundle
from pinpoint.nets.bundle.contract import CONTRACT_FILE, parse_contract
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.settings import Settings
from pinpoint.stack import migrate
from pinpoint.stack.backup import archive, dumps
from pinpoint.stack.backup.archive import ArchiveReader
from pinpoint.stack.backup.backup import Manifest, open_database
from pinpoint.stack.index.build import DEFAULT_POINTS
from pinpoint.stack.index.builds import Builds
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.programs import build_environment, list_external_services
from pinpoint.store.vectors.payload import new_build


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """Report of a restore.

    Args:
        manifest: Manifest of the backup.
        counts: Number of rows by table, after migrations.
        index_built: Whether the embedded index was built; a Qdrant server's index is not.
    """

    manifest: Manifest
    counts: dict[str, int]
    index_built: bool


def restore_backup(
    settings: Settings, path: Path, *, replace: bool, on_message: lifecycle.OnMessage
) -> RestoreReport:
    """Replace the content of the stack by a backup.

    Args:
        settings: Settings of the stack, which may be up, down, or not exist yet.
        path: The backup.
        replace: Replace a stack that is not empty; its content is lost.
        on_message: Called with progress messages.

    Raises:
        BadRequestError: The backup is incomplete or not a Pinpoint backup.
        BadBundleError: Another bundle than the configured one produced its vectors.
        ConflictError: The stack is not empty, or other clients use its database.
        StackError: Its schema is newer than this code, or a step failed; the message names it.
    """
    paths = StackPaths(settings.services.home)
    reader = ArchiveReader(path.expanduser().absolute())
    try:
        manifest, digests = check_backup(settings, paths, reader, on_message)
        if not replace:
            _require_empty_stack(settings, paths)
        was_up = lifecycle.stack_status(settings).state != "down"
        lifecycle.stop_stack(settings, on_message)
        try:
            counts = _replace_data(
                settings, paths, reader, digests, manifest, replace=replace, on_message=on_message
            )
        except BaseException as error:
            if was_up:
                on_message("the restore failed; starting the stack again")
                lifecycle.start_stack(settings, on_message)
            if isinstance(error, OSError):
                raise StackError(
                    f"the backup cannot be unpacked: {describe_cause(error)}"
                ) from error
            raise
    finally:
        reader.close()
    embedded = "index" not in list_external_services(settings)
    if was_up or embedded:
        lifecycle.start_stack(settings, on_message)
    return RestoreReport(manifest=manifest, counts=counts, index_built=embedded)


def check_backup(
    settings: Settings, paths: StackPaths, reader: ArchiveReader, on_message: lifecycle.OnMessage
) -> tuple[Manifest, dict[str, str]]:
    """Read and check the whole backup; changes nothing.

    Raises:
        BadRequestError: A digest differs, or a file is missing.
        BadBundleError: Another bundle than the configured one produced its vectors.
        StackError: Its schema is newer than this code.
    """
    manifest = Manifest.parse(reader.text(archive.MANIFEST))
    if manifest.revision not in migrate.list_revisions():
        raise StackError(
            f"the backup has schema revision {manifest.revision}, which this version does not "
            f"know: restore it with Pinpoint {manifest.pinpoint} or newer"
        )
    with reader.open(archive.CHECKSUMS) as file:
        if archive.hash_stream(file) != manifest.sums_sha256:
            raise BadRequestError(
                f"{archive.CHECKSUMS} differs from the manifest: the backup is incomplete"
            )
    digests = reader.sums()
    on_message(f"checking {len(digests)} files")
    for name, digest in digests.items():
        with reader.open(name) as file:
            if archive.hash_stream(file) != digest:
                raise BadRequestError(f"{name} of the backup is damaged: its SHA-256 differs")
    if archive.DUMP not in digests:
        raise BadRequestError(f"the backup has no {archive.DUMP}")
    _require_matching_bundle(settings, paths, reader, manifest, digests)
    return manifest, digests


def _require_matching_bundle(
    settings: Settings,
    paths: StackPaths,
    reader: ArchiveReader,
    manifest: Manifest,
    digests: Mapping[str, str],
) -> None:
    """Check that the configured bundle, on disk or in the backup, produced the vectors."""
    name = settings.encoder.bundle
    contract_file = f"bundles/{name}/{CONTRACT_FILE}"
    advice = f"set PINPOINT_BUNDLE to {manifest.bundle}"
    if contract_file in digests and not Path(name).is_dir():
        contract = parse_contract(reader.text(contract_file).encode(), contract_file)
    else:
        try:
            contract = find_bundle(name, paths.home).contract
        except BadBundleError as error:
            raise BadBundleError(f"{error.message}; for this backup, {advice}") from error
    if public_contract(contract, settings.media.rendition_px).digest != manifest.contract:
        raise BadBundleError(
            f"the backup's vectors are of bundle {manifest.bundle!r}, not of {name!r} as it is "
            f"configured: {advice}, and PINPOINT_MEDIA_RENDITION_PX to its value at the backup"
        )


def _require_empty_stack(settings: Settings, paths: StackPaths) -> None:
    """Raise `ConflictError` if the stack contains blobs or rows of users."""
    has_data = any(paths.blobs_dir.glob("*/*/*"))
    if not has_data and (settings.services.database_url or paths.pgdata.exists()):
        with open_database(settings, paths) as (url, _):
            has_data = dumps.has_user_rows(url)
    if has_data:
        raise ConflictError(
            f"the stack of {paths.home} is not empty; `--replace` replaces its content by the "
            "backup, and the content is lost"
        )


def _replace_data(
    settings: Settings,
    paths: StackPaths,
    reader: ArchiveReader,
    digests: Mapping[str, str],
    manifest: Manifest,
    *,
    replace: bool,
    on_message: lifecycle.OnMessage,
) -> dict[str, int]:
    """Execute all changes; only the stack's PostgreSQL runs."""
    with open_database(settings, paths, alone=True) as (url, pgdata):
        if not replace and dumps.has_user_rows(url):
            raise ConflictError("rows were added to the stack during the restore")
        migrate.upgrade_database(url)  # creates extension and roles, and checks the rights
        installation = dumps.read_installation(url)
        _unpack_files(reader, paths, digests, on_message)
        on_message("replacing the database")
        dump_path = paths.home / "restore.dump"
        try:
            with reader.open(archive.DUMP) as file:
                archive.copy_file(file, dump_path)
            dumps.replace_database(url, dump_path, pgdata, installation)
        finally:
            dump_path.unlink(missing_ok=True)
        # Not earlier: until then the key belongs to the secrets in the database.
        if archive.WEBHOOK_KEY in digests:
            _unpack_file(reader, archive.WEBHOOK_KEY, paths.webhook_key_file, digests)
        with dumps.open_connection(url) as connection:
            restored_counts = dumps.count_rows(connection)
        if restored_counts != manifest.counts:
            raise StackError(
                f"row counts differ: database {restored_counts}, backup {manifest.counts}"
            )
        on_message("migrating the database")
        migrate.upgrade_database(url)
        dumps.set_installation(url, installation)
        with dumps.open_connection(url) as connection:
            counts = dumps.count_rows(connection)
        _delete_unlisted_files(paths, digests)
        if "index" not in list_external_services(settings):
            on_message("building the index")
            _build_index(settings, paths)
        return counts


def _unpack_files(
    reader: ArchiveReader,
    paths: StackPaths,
    digests: Mapping[str, str],
    on_message: lifecycle.OnMessage,
) -> None:
    """Add blobs, bundles and thresholds; an existing file with a blob's name is the same blob."""
    folders = {
        "blobs": paths.blobs_dir,
        "bundles": paths.bundles_dir,
        "verification": paths.verification_dir,
    }
    num_files = 0
    for name in digests:
        top_folder, _, relative = name.partition("/")
        target = folders.get(top_folder)
        if target is None or (top_folder == "blobs" and (target / relative).is_file()):
            continue
        _unpack_file(reader, name, target / relative, digests)
        num_files += 1
        if num_files % 1_000 == 0:
            on_message(f"unpacked {num_files} files")


def _unpack_file(
    reader: ArchiveReader, name: str, target: Path, digests: Mapping[str, str]
) -> None:
    with reader.open(name) as file:
        if archive.copy_file(file, target) != digests[name]:
            raise BadRequestError(f"{name} of the backup has changed since it was checked")


def _delete_unlisted_files(paths: StackPaths, digests: Mapping[str, str]) -> None:
    """Delete blobs and thresholds that the backup does not have: they are of another gallery."""
    for path in paths.blobs_dir.glob("*/*/*"):
        if f"blobs/{path.relative_to(paths.blobs_dir).as_posix()}" not in digests:
            path.unlink()
    for path in paths.verification_dir.glob("*.json"):
        if f"verification/{path.name}" not in digests:
            path.unlink()


def _build_index(settings: Settings, paths: StackPaths) -> None:
    """Build the embedded index, as `index rebuild` does, while the stack is down."""
    shutil.rmtree(paths.index_dir, ignore_errors=True)
    builds, name = Builds(paths.index_dir), new_build()
    command = [sys.executable, "-P", "-m", "pinpoint.stack.index.build"]
    command += ["--folder", str(builds.path(name)), "--points", DEFAULT_POINTS]
    result = subprocess.run(
        [*command, "--alone", "--parent", str(os.getpid())],
        env=build_environment(settings, paths, 0),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise StackError(
            "database and blobs are restored, but the index could not be built (`pinpoint up`, "
            f"then `pinpoint index rebuild`): {(result.stdout + result.stderr)[-500:]}"
        )
    builds.point_to(name)
