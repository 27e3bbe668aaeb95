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

from pinpoint.errors import BadBundle, BadRequest, Conflict, StackError, describe_cause
from pinpoint.nets.bundles import find_bundle
from pinpoint.nets.contract import CONTRACT_FILE, parse_contract
from pinpoint.nets.digests import public_contract
from pinpoint.settings import Settings
from pinpoint.stack import archive, dumps, lifecycle, migrate
from pinpoint.stack.archive import Reading
from pinpoint.stack.backup import Manifest, reachable
from pinpoint.stack.index_build import DEFAULT_POINTS
from pinpoint.stack.index_folder import Builds
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.programs import environment, external
from pinpoint.store.vectors_payload import new_build


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Report of a restore.

    Args:
        manifest: Manifest of the backup.
        counts: Number of rows by table, after migrations.
        index_built: Whether the embedded index was built; a Qdrant server's index is not.
    """

    manifest: Manifest
    counts: dict[str, int]
    index_built: bool


def restore(settings: Settings, path: Path, *, replace: bool, say: lifecycle.Say) -> Restored:
    """Replace the content of the stack by a backup.

    Args:
        settings: Settings of the stack, which may be up, down, or not exist yet.
        path: The backup.
        replace: Replace a stack that is not empty; its content is lost.
        say: Called with progress messages.

    Raises:
        BadRequest: The backup is incomplete or not a Pinpoint backup.
        BadBundle: Another bundle than the configured one produced its vectors.
        Conflict: The stack is not empty, or other clients use its database.
        StackError: Its schema is newer than this code, or a step failed; the message names it.
    """
    paths = StackPlaces(settings.places.home)
    reader = Reading(path.expanduser().absolute())
    try:
        manifest, digests = check(settings, paths, reader, say)
        if not replace:
            _require_empty_stack(settings, paths)
        was_up = lifecycle.status(settings).state != "down"
        lifecycle.down(settings, say)
        try:
            counts = _replace_data(
                settings, paths, reader, digests, manifest, replace=replace, say=say
            )
        except BaseException as error:
            if was_up:
                say("the restore failed; starting the stack again")
                lifecycle.up(settings, say)
            if isinstance(error, OSError):
                raise StackError(
                    f"the backup cannot be unpacked: {describe_cause(error)}"
                ) from error
            raise
    finally:
        reader.close()
    embedded = "index" not in external(settings)
    if was_up or embedded:
        lifecycle.up(settings, say)
    return Restored(manifest=manifest, counts=counts, index_built=embedded)


def check(
    settings: Settings, paths: StackPlaces, reader: Reading, say: lifecycle.Say
) -> tuple[Manifest, dict[str, str]]:
    """Read and check the whole backup; changes nothing.

    Raises:
        BadRequest: A digest differs, or a file is missing.
        BadBundle: Another bundle than the configured one produced its vectors.
        StackError: Its schema is newer than this code.
    """
    manifest = Manifest.parse(reader.text(archive.MANIFEST))
    if manifest.revision not in migrate.revisions():
        raise StackError(
            f"the backup has schema revision {manifest.revision}, which this version does not "
            f"know: restore it with Pinpoint {manifest.pinpoint} or newer"
        )
    with reader.open(archive.SUMS) as file:
        if archive.sha256_of(file) != manifest.sums_sha256:
            raise BadRequest(f"{archive.SUMS} differs from the manifest: the backup is incomplete")
    digests = reader.sums()
    say(f"checking {len(digests)} files")
    for name, digest in digests.items():
        with reader.open(name) as file:
            if archive.sha256_of(file) != digest:
                raise BadRequest(f"{name} of the backup is damaged: its SHA-256 differs")
    if archive.DUMP not in digests:
        raise BadRequest(f"the backup has no {archive.DUMP}")
    _require_matching_bundle(settings, paths, reader, manifest, digests)
    return manifest, digests


def _require_matching_bundle(
    settings: Settings,
    paths: StackPlaces,
    reader: Reading,
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
        except BadBundle as error:
            raise BadBundle(f"{error.message}; for this backup, {advice}") from error
    if public_contract(contract, settings.media.rendition_px).digest != manifest.contract:
        raise BadBundle(
            f"the backup's vectors are of bundle {manifest.bundle!r}, not of {name!r} as it is "
            f"configured: {advice}, and PINPOINT_MEDIA_RENDITION_PX to its value at the backup"
        )


def _require_empty_stack(settings: Settings, paths: StackPlaces) -> None:
    """Raise `Conflict` if the stack contains blobs or rows of users."""
    has_data = any(paths.blobs_dir.glob("*/*/*"))
    if not has_data and (settings.places.database_url or paths.pgdata.exists()):
        with reachable(settings, paths) as (url, _):
            has_data = dumps.in_use(url)
    if has_data:
        raise Conflict(
            f"the stack of {paths.home} is not empty; `--replace` replaces its content by the "
            "backup, and the content is lost"
        )


def _replace_data(
    settings: Settings,
    paths: StackPlaces,
    reader: Reading,
    digests: Mapping[str, str],
    manifest: Manifest,
    *,
    replace: bool,
    say: lifecycle.Say,
) -> dict[str, int]:
    """Execute all changes; only the stack's PostgreSQL runs meanwhile."""
    with reachable(settings, paths, alone=True) as (url, pgdata):
        if not replace and dumps.in_use(url):
            raise Conflict("rows were added to the stack during the restore")
        migrate.upgrade(url)  # creates extension and roles, and checks the rights
        installation = dumps.installation_of(url)
        _unpack_files(reader, paths, digests, say)
        say("replacing the database")
        dump_path = paths.home / "restore.dump"
        try:
            with reader.open(archive.DUMP) as file:
                archive.copy(file, dump_path)
            dumps.replace_all(url, dump_path, pgdata, installation)
        finally:
            dump_path.unlink(missing_ok=True)
        with dumps.connected(url) as connection:
            restored_counts = dumps.counts_of(connection)
        if restored_counts != manifest.counts:
            raise StackError(
                f"row counts differ: database {restored_counts}, backup {manifest.counts}"
            )
        say("migrating the database")
        migrate.upgrade(url)
        dumps.set_installation(url, installation)
        with dumps.connected(url) as connection:
            counts = dumps.counts_of(connection)
        _delete_unlisted_blobs(paths, digests)
        if "index" not in external(settings):
            say("building the index")
            _build_index(settings, paths)
        return counts


def _unpack_files(
    reader: Reading, paths: StackPlaces, digests: Mapping[str, str], say: lifecycle.Say
) -> None:
    """Add blobs and bundles; an existing file with a blob's name is the same blob."""
    num_files = 0
    for name, digest in digests.items():
        top_folder, _, relative = name.partition("/")
        target = {"blobs": paths.blobs_dir, "bundles": paths.bundles_dir}.get(top_folder)
        if target is None or (top_folder == "blobs" and (target / relative).is_file()):
            continue
        with reader.open(name) as file:
            if archive.copy(file, target / relative) != digest:
                raise BadRequest(f"{name} of the backup has changed since it was checked")
        num_files += 1
        if num_files % 1_000 == 0:
            say(f"unpacked {num_files} files")


def _delete_unlisted_blobs(paths: StackPlaces, digests: Mapping[str, str]) -> None:
    for path in paths.blobs_dir.glob("*/*/*"):
        if f"blobs/{path.relative_to(paths.blobs_dir).as_posix()}" not in digests:
            path.unlink()


def _build_index(settings: Settings, paths: StackPlaces) -> None:
    """Build the embedded index, as `index rebuild` does, while the stack is down."""
    shutil.rmtree(paths.index_dir, ignore_errors=True)
    builds, name = Builds(paths.index_dir), new_build()
    command = [sys.executable, "-P", "-m", "pinpoint.stack.index_build"]
    command += ["--folder", str(builds.path(name)), "--points", DEFAULT_POINTS]
    result = subprocess.run(
        [*command, "--alone", "--parent", str(os.getpid())],
        env=environment(settings, paths, 0),
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
