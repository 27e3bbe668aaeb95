"""Registers files as items of a batch. Items are durable; their files are read later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from uuid import UUID

from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.iteration import batched
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.files import check_file_name, find_photos
from pinpoint.media.manifests.manifest_choice import find_one_manifest
from pinpoint.media.manifests.manifest_files import FORMAT_NAMES, is_manifest, read_manifest
from pinpoint.media.metadata.raw_metadata import sanitize_text
from pinpoint.media.missing_files import MissingFiles, find_missing_files
from pinpoint.media.sidecar_files import sidecar_finder
from pinpoint.media.tracks import add_options, find_tracks
from pinpoint.ports import CatalogWriter, Database
from pinpoint.records import (
    Batch,
    MetadataOverride,
    NewItem,
    OriginalsPolicy,
    ReadOptions,
    Rejected,
    Source,
    SourceKind,
    SourceRoot,
)
from pinpoint.records.limits import UnstorableError, check_item
from pinpoint.settings import Settings

MAX_SHOWN = 500
"""Maximum characters of a name that is truncated because it cannot be stored."""
_ITEMS_PER_TRANSACTION = 1024
"""Items registered in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """Result of registering a folder or a manifest."""

    batch: Batch
    root: SourceRoot
    root_is_new: bool
    manifest: Path | None
    """The manifest that was used; None if only the folder was read."""
    missing: MissingFiles | None
    """Files that no longer exist; None if only the rows of a manifest were read."""
    removed: int | None
    """Number of images removed with missing files; None if removal was not requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A file below the folder, or the rejection of a row, file or folder."""

    relative: str
    """Path below the folder, with `/`; shown to users, and the last part of the id."""
    path: Path | None = None
    external_id: str | None = None
    """Id from a manifest; None: the path below the root."""
    metadata_override: MetadataOverride | None = None
    rejected: Rejected | None = None


def register_files(  # noqa: PLR0913 - see long_functions.toml
    path: Path,
    *,
    source: str,
    organization_id: UUID,
    database: Database,
    settings: Settings,
    kind: SourceKind | None = None,
    originals: OriginalsPolicy = "reference",
    manifest: Path | None = None,
    use_manifest: bool = True,
    root_name: str | None = None,
    options: ReadOptions | None = None,
    confirm_removal: Callable[[MissingFiles], bool] | None = None,
    on_registered: Callable[[int], None] | None = None,
) -> Registered:
    """Register the files of a local folder or manifest in a new batch, and close the batch.

    Args:
        path: A folder, or a manifest. Of a manifest, only the rows are read.
        source: Name of the source; created if it does not exist and `kind` is given.
        organization_id: Organization of the source.
        database: The catalog.
        settings: Limits of manifests.
        kind: Kind of a new source.
        originals: Originals policy of a new source.
        manifest: The manifest to use, in the folder or elsewhere; its names are relative to the
            folder, and only its rows are read.
        use_manifest: Whether to use a manifest in the folder. Files that it does not name are
            read as well.
        root_name: Name of the folder among the roots of the source; default: the folder name.
        options: Track, clock, time zone and columns, as given by the caller.
        confirm_removal: Returns whether to remove missing files; without it they stay.
        on_registered: Called with the number of files of each page.

    Raises:
        BadRequestError: The path does not exist, or it does not fit the roots of the source.
        BadManifestError: The manifest cannot be read at all.
        NotFoundError: There is no such source, and no kind to create it.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise BadRequestError(f"{path} does not exist: give a folder or a manifest")
    folder = path if path.is_dir() else path.parent
    only_rows = path if folder != path else manifest
    used_manifest = only_rows or (find_one_manifest(folder) if use_manifest else None)
    entries = list_entries(
        folder, used_manifest, settings, options or ReadOptions(), only_rows=only_rows is not None
    )
    first_entry = next(entries, None)
    if first_entry is None:
        raise BadRequestError(
            f"no files to ingest in {path}; nothing was changed", reason="no_files"
        )
    with database.write(organization_id) as catalog:
        source_record = _find_or_add_source(catalog, source, kind, originals)
        root, root_is_new = find_or_add_root(catalog, source_record, folder, root_name)
    missing = None
    if only_rows is None:
        with database.read(organization_id) as catalog:
            missing = find_missing_files(catalog, catalog.source(source_record.id), root, folder)
    # Before the items are read: a renamed file is a duplicate while the old row has its bytes.
    removed = _remove_missing(database, organization_id, source_record.id, missing, confirm_removal)
    with database.write(organization_id) as catalog:
        batch = catalog.open_batch(source_record.id)
    items = (
        _check_storable(_make_item(entry, root, folder)) for entry in chain([first_entry], entries)
    )
    for page in batched(items, _ITEMS_PER_TRANSACTION):
        with database.write(organization_id) as catalog:
            catalog.add_items(batch.id, page)
        if on_registered is not None:
            on_registered(len(page))
    with database.write(organization_id) as catalog:
        batch = catalog.close_batch(batch.id)
    return Registered(
        batch=batch,
        root=root,
        root_is_new=root_is_new,
        manifest=used_manifest,
        missing=missing,
        removed=removed,
    )


def _remove_missing(
    database: Database,
    organization_id: UUID,
    source_id: UUID,
    missing: MissingFiles | None,
    confirm: Callable[[MissingFiles], bool] | None,
) -> int | None:
    """Remove missing files if confirmed; returns the number of images, or None."""
    if confirm is None or missing is None:
        return None
    # Outside a transaction: the confirmation may wait for a user.
    if not missing.external_ids or not confirm(missing):
        return 0
    with database.write(organization_id) as catalog:
        return catalog.remove_files(source_id, missing.external_ids)


def _find_or_add_source(
    catalog: CatalogWriter, name: str, kind: SourceKind | None, originals: OriginalsPolicy
) -> Source:
    try:
        return catalog.source(name)
    except NotFoundError:
        if kind is None:
            raise
        return catalog.add_source(name, kind, originals=originals)


def find_or_add_root(
    catalog: CatalogWriter, source: Source, folder: Path, name: str | None
) -> tuple[SourceRoot, bool]:
    """The root of a source that contains a folder, and whether this call added it.

    Raises:
        BadRequestError: The folder overlaps a root, or another folder has the name.
    """
    enclosing_roots = [root for root in source.roots if folder.is_relative_to(root.path)]
    if enclosing_roots:
        root = max(enclosing_roots, key=lambda root: len(root.path))
        if name not in (None, root.name):
            raise BadRequestError(
                f"{folder} belongs to the root {root.name!r} of source {source.name!r}; omit --root"
            )
        return root, False
    for root in source.roots:
        if Path(root.path).is_relative_to(folder):
            raise BadRequestError(
                f"{root.path} in {folder} is the root {root.name!r} of source {source.name!r}: "
                "ingest the other folders one by one, or into another source"
            )
        if root.name == (name or folder.name):
            raise BadRequestError(
                f"source {source.name!r} has the root {root.name!r} at {root.path}: if the folder "
                f"was moved, run `pinpoint sources move-root {source.name} {root.name} PATH`; if "
                "this is another folder, give it a name with --root"
            )
    new_root = SourceRoot(name=sanitize_text(name or folder.name or "root"), path=str(folder))
    catalog.add_root(source.id, new_root)
    return new_root, True


def list_entries(
    folder: Path,
    manifest: Path | None,
    settings: Settings,
    options: ReadOptions,
    *,
    only_rows: bool,
) -> Iterator[_Entry]:
    """Entries of the folder or the manifest, including rejected rows and folders."""
    if manifest is None:
        return _walk_folder(folder, options, set())
    if not is_manifest(manifest):
        raise BadRequestError(f"{manifest.name} is no manifest: give {FORMAT_NAMES}")
    if only_rows:
        return _read_rows(manifest, folder, settings, options)
    named_files: set[str] = set()
    rows = _read_rows(manifest, folder, settings, options, named_files)
    return chain(rows, _walk_folder(folder, options, named_files))


def _walk_folder(folder: Path, options: ReadOptions, named_files: set[str]) -> Iterator[_Entry]:
    """Files below the folder, except those that are named by a manifest."""
    find_track, find_sidecars = find_tracks(folder, options.track), sidecar_finder(folder)
    unreadable: list[_Entry] = []

    def reject_folder(subfolder: Path, error: OSError) -> None:
        name = f"{subfolder.relative_to(folder).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        rejection = rejected(name, "unreadable_folder", detail)
        unreadable.append(_Entry(relative=name, rejected=rejection))

    for photo in find_photos(folder, reject_folder):
        yield from unreadable
        unreadable.clear()
        name = photo.relative_to(folder).as_posix()
        if name in named_files:
            continue
        try:
            check_file_name(name)
        except RejectedFileError as error:
            rejection = rejected(name, error.reason, error.detail)
            yield _Entry(relative=name, rejected=rejection)
            continue
        metadata_override = add_options(None, find_track(photo), options, find_sidecars(photo))
        yield _Entry(relative=name, path=photo, metadata_override=metadata_override)
    yield from unreadable


def _read_rows(
    manifest: Path,
    folder: Path,
    settings: Settings,
    options: ReadOptions,
    named_files: set[str] | None = None,
) -> Iterator[_Entry]:
    """Rows of a manifest; adds the files that they name to `named_files`, if it is given."""
    find_track, find_sidecars = find_tracks(folder, options.track), sidecar_finder(folder)
    for row in read_manifest(manifest, settings.media, options, folder=folder):
        if isinstance(row, Rejected):
            if named_files is not None:
                named_files.add(row.file)
            yield _Entry(relative=row.file, external_id=row.file, rejected=row)
            continue
        if named_files is not None:
            named_files.add(row.file.relative_to(folder).as_posix())
        yield _Entry(
            relative=row.name,
            path=row.file,
            external_id=row.external_id if row.external_id != row.name else None,
            metadata_override=add_options(
                row.metadata_override, find_track(row.file), options, find_sidecars(row.file)
            ),
        )


def _make_item(entry: _Entry, root: SourceRoot, folder: Path) -> NewItem:
    """Make an item; its id is from the manifest, otherwise the path below the root."""
    path_below_root = (folder.relative_to(root.path) / entry.relative).as_posix()
    return NewItem(
        external_id=entry.external_id or sanitize_text(root.external_id(path_below_root)),
        file=entry.rejected.file if entry.rejected else entry.relative,
        uri=entry.path.as_uri() if entry.path else "",
        metadata_override=entry.metadata_override,
        rejected=entry.rejected,
    )


def _check_storable(item: NewItem) -> NewItem:
    """The item, or its rejection if the database cannot store one of its values."""
    if item.rejected is not None:
        return item
    try:
        check_item(item.external_id, item.file, item.uri, item.metadata_override)
    except UnstorableError as error:
        rejection = Rejected(
            file=sanitize_text(item.file)[:MAX_SHOWN],
            error_stage="find",
            error_code=error.reason,
            error_message=error.detail,
        )
        short_id = sanitize_text(item.external_id)[:MAX_SHOWN]
        return NewItem(external_id=short_id, file=rejection.file, uri="", rejected=rejection)
    return item
