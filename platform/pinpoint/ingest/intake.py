"""Files become items of a batch: nothing is read of them yet, nothing can be lost any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from pinpoint.errors import BadRequest, NotFound
from pinpoint.media.checks import Refused, rejected
from pinpoint.media.facts import storable
from pinpoint.media.files import check_name, find_photos, tracks
from pinpoint.media.manifests import is_manifest, read_manifest
from pinpoint.ports import CatalogueWriter, Database
from pinpoint.records import Batch, Hint, NewItem, OriginalsPolicy, Rejected, Source, SourceKind
from pinpoint.records.limits import Unstorable, check_item
from pinpoint.settings import Settings

MAX_SHOWN = 500
"""Characters kept of a name that cannot be stored whole."""
_PAGE = 1024
"""Items registered in one transaction."""


def register_folder(
    path: Path,
    *,
    source: str,
    organization_id: UUID,
    database: Database,
    settings: Settings,
    kind: SourceKind | None = None,
    originals: OriginalsPolicy = "reference",
    on_registered: Callable[[int], None] | None = None,
) -> Batch:
    """Open a batch over a folder or a manifest of this machine, register its files, close it.

    Args:
        path: A folder, or a CSV or GeoJSON manifest.
        source: Name of the source; made if `kind` is given and it does not exist.
        organization_id: Whose source it is.
        database: Where items go.
        settings: Limits of manifests.
        kind: Kind of a source that is made now.
        originals: Policy of a source that is made now.
        on_registered: Told how many files each page held.

    Raises:
        BadRequest: Nothing is there, or it lies outside the source's root.
        BadManifest: The manifest cannot be read at all.
        NotFound: There is no such source and no kind to make it with.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise BadRequest(f"nothing at {path}: give a folder or a manifest")
    root = path if path.is_dir() else path.parent
    with database.write(organization_id) as catalogue:
        found = _source(catalogue, source, kind, originals, root)
        base = Path(found.root) if found.root else root
        if not root.is_relative_to(base):
            raise BadRequest(
                f"{root} lies outside {base}, the root of source {found.name!r}: ids are paths "
                "below the root, so ingest from there or add a source of its own"
            )
        batch = catalogue.open_batch(found.id)
    for page in _pages(map(_storable, _items(path, root, base, settings))):
        with database.write(organization_id) as catalogue:
            catalogue.add_items(batch.id, page)
        if on_registered is not None:
            on_registered(len(page))
    with database.write(organization_id) as catalogue:
        return catalogue.close_batch(batch.id)


def _source(
    catalogue: CatalogueWriter,
    name: str,
    kind: SourceKind | None,
    originals: OriginalsPolicy,
    root: Path,
) -> Source:
    try:
        found = catalogue.source(name)
        # Without a root two folders that hold a file of one name would replace each other's.
        return found if found.root else catalogue.set_root(found.id, str(root))
    except NotFound:
        if kind is None:
            raise NotFound(
                f"no source {name!r}: add it with `pinpoint sources add`, or give its kind"
            ) from None
        return catalogue.add_source(name, kind, originals=originals, root=str(root))


def _items(path: Path, root: Path, base: Path, settings: Settings) -> Iterator[NewItem]:
    """What the folder or manifest lists, refused rows included."""
    if path.is_dir():
        return _folder_items(path, base)
    if not is_manifest(path):
        raise BadRequest(f"{path.name} is no folder, CSV or GeoJSON: give one of these")
    return _manifest_items(path, root, base, settings)


def _folder_items(folder: Path, base: Path) -> Iterator[NewItem]:
    track_of = tracks(folder)
    for photo in find_photos(folder):
        name, file = photo.relative_to(base).as_posix(), photo.relative_to(folder).as_posix()
        try:
            check_name(name)
        except Refused as refused:
            what = rejected(file, refused.reason, refused.detail)
            yield NewItem(external_id=storable(name), file=what.file, locator="", rejected=what)
            continue
        track = track_of(photo)
        yield NewItem(
            external_id=name,
            file=file,
            locator=photo.as_uri(),
            hint=Hint(track=str(track)) if track else None,
        )


def _manifest_items(path: Path, root: Path, base: Path, settings: Settings) -> Iterator[NewItem]:
    for row in read_manifest(path, settings.media):
        if isinstance(row, Rejected):
            yield NewItem(external_id=row.file, file=row.file, locator="", rejected=row)
            continue
        below = (root / row.name).resolve()
        default_id = below.relative_to(base).as_posix() if below.is_relative_to(base) else row.name
        yield NewItem(
            external_id=row.external_id if row.external_id != row.name else default_id,
            file=row.name,
            locator=row.file.as_uri(),
            hint=row.hint,
        )


def _storable(item: NewItem) -> NewItem:
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


def _pages(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    stream = iter(items)
    while page := list(islice(stream, _PAGE)):
        yield page
