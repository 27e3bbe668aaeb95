"""Files become items of a batch: nothing is read of them yet, nothing can be lost any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from uuid import UUID

from pinpoint.errors import BadRequest, NotFound
from pinpoint.media.checks import Refused, rejected
from pinpoint.media.facts import storable
from pinpoint.media.files import check_name, find_photos
from pinpoint.media.manifest_choice import find_one_manifest
from pinpoint.media.manifests import is_manifest, read_manifest
from pinpoint.media.missing_files import MissingFiles, find_missing_files
from pinpoint.media.tracks import add_options, find_tracks
from pinpoint.ports import CatalogueWriter, Database
from pinpoint.records import (
    Batch,
    Hint,
    NewItem,
    OriginalsPolicy,
    ReadOptions,
    Rejected,
    Source,
    SourceKind,
    SourceRoot,
)
from pinpoint.records.limits import Unstorable, check_item
from pinpoint.settings import Settings

MAX_SHOWN = 500
"""Characters kept of a name that cannot be stored whole."""
_PAGE = 1024
"""Items registered in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What a folder or a manifest became."""

    batch: Batch
    root: SourceRoot
    root_is_new: bool
    manifest: Path | None
    """The manifest that was used; None where the folder alone was read."""
    missing: MissingFiles | None
    """Files that are gone; None where only a manifest's rows were read."""
    removed: int | None
    """How many images were removed with files that are gone; None: nobody asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A file below the folder, or something that cannot be used."""

    relative: str
    """Path below the folder, with `/`; for people, and the end of the id."""
    path: Path | None = None
    external_id: str | None = None
    """The id that a manifest gives; None: the path below the root."""
    hint: Hint | None = None
    rejected: Rejected | None = None


def register_folder(
    path: Path,
    *,
    source: str,
    organization_id: UUID,
    database: Database,
    settings: Settings,
    kind: SourceKind | None = None,
    originals: OriginalsPolicy = "reference",
    options: ReadOptions | None = None,
    on_registered: Callable[[int], None] | None = None,
) -> Batch:
    """As `register`, with what most callers need: a manifest in the folder is used."""
    return register(
        path,
        source=source,
        organization_id=organization_id,
        database=database,
        settings=settings,
        kind=kind,
        originals=originals,
        options=options,
        on_registered=on_registered,
    ).batch


def register(
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
    """Open a batch over a folder or a manifest of this machine, register its files, close it.

    Args:
        path: A folder, or a CSV or GeoJSON manifest; of a manifest only the rows are read.
        source: Name of the source; made if `kind` is given and it does not exist.
        organization_id: Whose source it is.
        database: Where items go.
        settings: Limits of manifests.
        kind: Kind of a source that is made now.
        originals: Policy of a source that is made now.
        manifest: The manifest in the folder to use; only its rows are read.
        use_manifest: Whether a manifest that is found in the folder is used. Files that it does
            not name are read as well.
        root_name: Name of the folder among the roots of the source; the folder's own without it.
        options: Track, clock, time zone and columns, as a person said.
        confirm_removal: Asked whether files that are gone are taken out; without it they stay.
        on_registered: Called with the number of files of each page.

    Raises:
        BadRequest: Nothing is there, or it does not fit the roots of the source.
        BadManifest: The manifest cannot be read at all.
        NotFound: There is no such source and no kind to make it with.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise BadRequest(f"nothing at {path}: give a folder or a manifest")
    folder = path if path.is_dir() else path.parent
    only_rows = path if folder != path else manifest
    listed = only_rows or (find_one_manifest(folder) if use_manifest else None)
    entries = list_entries(
        folder, listed, settings, options or ReadOptions(), only_rows=only_rows is not None
    )
    first = next(entries, None)
    if first is None:
        raise BadRequest(f"no files to ingest in {path}; nothing was changed", reason="no_files")
    with database.write(organization_id) as catalogue:
        found = _find_or_add_source(catalogue, source, kind, originals)
        root, root_is_new = find_or_add_root(catalogue, found, folder, root_name)
    missing = None
    if only_rows is None:
        with database.read(organization_id) as catalogue:
            missing = find_missing_files(catalogue, catalogue.source(found.id), root, folder)
    # Before the items are read: a renamed file is a duplicate while the old name has its bytes.
    removed = _remove_missing(database, organization_id, found.id, missing, confirm_removal)
    with database.write(organization_id) as catalogue:
        batch = catalogue.open_batch(found.id)
    items = (_check_storable(_make_item(entry, root, folder)) for entry in chain([first], entries))
    for page in _split_pages(items):
        with database.write(organization_id) as catalogue:
            catalogue.add_items(batch.id, page)
        if on_registered is not None:
            on_registered(len(page))
    with database.write(organization_id) as catalogue:
        batch = catalogue.close_batch(batch.id)
    return Registered(
        batch=batch,
        root=root,
        root_is_new=root_is_new,
        manifest=listed,
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
    """Take out files that are gone where somebody wants it; returns how many images."""
    if confirm is None or missing is None:
        return None
    # Asked outside a transaction: a person may take a while to answer.
    if not missing.external_ids or not confirm(missing):
        return 0
    with database.write(organization_id) as catalogue:
        return catalogue.remove_files(source_id, missing.external_ids)


def _find_or_add_source(
    catalogue: CatalogueWriter, name: str, kind: SourceKind | None, originals: OriginalsPolicy
) -> Source:
    try:
        return catalogue.source(name)
    except NotFound:
        if kind is None:
            raise NotFound(
                f"no source {name!r}: add it with `pinpoint sources add`, or give its kind"
            ) from None
        return catalogue.add_source(name, kind, originals=originals)


def find_or_add_root(
    catalogue: CatalogueWriter, source: Source, folder: Path, name: str | None
) -> tuple[SourceRoot, bool]:
    """The root of a source that a folder belongs to, and whether it was added now.

    Raises:
        BadRequest: The folder overlaps a root, or the name is taken by another folder.
    """
    around = [root for root in source.roots if folder.is_relative_to(root.path)]
    if around:
        root = max(around, key=lambda one: len(one.path))
        if name not in (None, root.name):
            raise BadRequest(
                f"{folder} belongs to the root {root.name!r} of source {source.name!r} already; "
                "leave --root out"
            )
        return root, False
    for root in source.roots:
        if Path(root.path).is_relative_to(folder):
            raise BadRequest(
                f"{root.path} in {folder} is the root {root.name!r} of source {source.name!r}: "
                "ingest the other folders one by one, or into a source of their own"
            )
        if root.name == (name or folder.name):
            raise BadRequest(
                f"source {source.name!r} has the root {root.name!r} at {root.path}: if the folder "
                f"was moved, run `pinpoint sources move-root {source.name} {root.name} PATH`; if "
                "this is another folder, name it with --root"
            )
    added = SourceRoot(name=storable(name or folder.name or "root"), path=str(folder))
    catalogue.add_root(source.id, added)
    return added, True


def list_entries(
    folder: Path,
    manifest: Path | None,
    settings: Settings,
    options: ReadOptions,
    *,
    only_rows: bool,
) -> Iterator[_Entry]:
    """What the folder or the manifest lists, refused rows and folders included."""
    if manifest is None:
        return _walk_folder(folder, options, set())
    if not is_manifest(manifest):
        raise BadRequest(f"{manifest.name} is no folder, CSV or GeoJSON: give one of these")
    named: set[str] = set()
    rows = _read_rows(manifest, folder, settings, options, named)
    return rows if only_rows else chain(rows, _walk_folder(folder, options, named))


def _walk_folder(folder: Path, options: ReadOptions, named: set[str]) -> Iterator[_Entry]:
    """Files below the folder but for those that a manifest has named."""
    track_of = find_tracks(folder, options.track)
    unreadable: list[_Entry] = []

    def refuse(below: Path, error: OSError) -> None:
        name = f"{below.relative_to(folder).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        what = rejected(name, "unreadable_folder", detail)
        unreadable.append(_Entry(relative=name, rejected=what))

    for photo in find_photos(folder, refuse):
        yield from unreadable
        unreadable.clear()
        name = photo.relative_to(folder).as_posix()
        if name in named:
            continue
        try:
            check_name(name)
        except Refused as refused:
            what = rejected(name, refused.reason, refused.detail)
            yield _Entry(relative=name, rejected=what)
            continue
        hint = add_options(None, track_of(photo), options)
        yield _Entry(relative=name, path=photo, hint=hint)
    yield from unreadable


def _read_rows(
    manifest: Path, folder: Path, settings: Settings, options: ReadOptions, named: set[str]
) -> Iterator[_Entry]:
    """Rows of a manifest; adds to `named` the files that they name."""
    track_of = find_tracks(folder, options.track)
    for row in read_manifest(manifest, settings.media, options):
        if isinstance(row, Rejected):
            named.add(row.file)
            yield _Entry(relative=row.file, external_id=row.file, rejected=row)
            continue
        named.add(row.file.relative_to(folder).as_posix())
        yield _Entry(
            relative=row.name,
            path=row.file,
            external_id=row.external_id if row.external_id != row.name else None,
            hint=add_options(row.hint, track_of(row.file), options),
        )


def _make_item(entry: _Entry, root: SourceRoot, folder: Path) -> NewItem:
    """An entry with its id: what a manifest says, else the path below the root."""
    below = (folder.relative_to(root.path) / entry.relative).as_posix()
    return NewItem(
        external_id=entry.external_id or storable(root.external_id(below)),
        file=entry.rejected.file if entry.rejected else entry.relative,
        locator=entry.path.as_uri() if entry.path else "",
        hint=entry.hint,
        rejected=entry.rejected,
    )


def _check_storable(item: NewItem) -> NewItem:
    """The item, or its rejection where the database cannot hold a value of it."""
    if item.rejected is not None:
        return item
    try:
        check_item(item.external_id, item.file, item.locator, item.hint)
    except Unstorable as error:
        what = Rejected(
            file=storable(item.file)[:MAX_SHOWN],
            stage="find",
            reason=error.reason,
            detail=error.detail,
        )
        name = storable(item.external_id)[:MAX_SHOWN]
        return NewItem(external_id=name, file=what.file, locator="", rejected=what)
    return item


def _split_pages(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    stream = iter(items)
    while page := list(islice(stream, _PAGE)):
        yield page
