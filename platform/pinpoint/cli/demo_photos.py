"""The demo on real photos: ingests a folder, holds some photos out, locates them, draws a map.

The gallery and the queries are of one folder, so the figures hold for photos like these only. A
query never meets its own panorama: panoramas are held out as a whole, and so are sequences of
photos without a panorama, and copies of a file.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.cli import demo_photos_report, output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.demo import MAP_FILE
from pinpoint.cli.folder_uploads import choose_manifest, find_uploads, upload_files
from pinpoint.errors import BadRequestError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import CaptureMetadata, MetadataOverride, Rejected, SourceKind
from pinpoint.settings import Settings
from pinpoint.stack.supervisor import lifecycle
from pinpoint_client.transport import Json
from pinpoint_client.uploads import Upload

_THREADS: Final = 2
_UNKNOWN_LICENSE: Final = "not stated"
_MAX_NAMES_LENGTH: Final = 200
_MAX_COMMANDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GeotaggedPhoto:
    """A photo of the folder whose position is known."""

    upload: Upload
    capture: CaptureMetadata

    @property
    def group(self) -> str:
        """Panorama, else sequence, else content: photos of one group are held out together."""
        capture = self.capture
        return capture.panorama_id or capture.sequence or capture.sha256


def run_photo_demo(
    folder: Path,
    settings: Settings,
    *,
    as_json: bool = False,
    organization: str | None = None,
    queries: int = 8,
    source_kind: SourceKind = "photo",
    out: Path = Path("demo-out"),
) -> Json:
    """Start the stack, ingest the gallery, locate the held-out photos, print and draw the results.

    A verified answer gets a match picture next to the map.

    Args:
        folder: Folder of geotagged photos, or with a manifest of them; or the manifest.
        settings: Settings of the stack.
        as_json: Print one JSON document instead of a table.
        organization: Organization to act as; the default organization if None.
        queries: Number of photos to locate, each of another group; at most half of the groups.
        source_kind: Kind of the photos.
        out: Folder of the map and each match picture.

    Returns:
        The document that `--json` prints: `server`, `home`, `gallery`, `photos`, `summary`,
        `bundle`, `ranker`, `notes`, `map`, `try`, `remove`.

    Raises:
        BadRequestError: Fewer than two groups of photos have a position.
        StackError: The embedded stack cannot be started.
    """
    photos, rejections = read_photos(folder, settings)
    query_photos, gallery = hold_out(photos, queries)
    lifecycle.start_stack(settings, on_message=output.warn)
    home = settings.services.home
    with ApiClient.open(organization=organization, home=home) as client:
        source = _ensure_source(client, folder, gallery, source_kind)
        batch = _ingest_gallery(client, source, gallery)
        answers = [
            client.locate(photo.upload.path, query_kind=source_kind, sources=[source])
            for photo in query_photos
        ]
        report = demo_photos_report.summarize_photo_demo(
            [photo.upload.path for photo in query_photos],
            [photo.capture.point for photo in query_photos],
            [photo.capture.point for photo in gallery],
            answers,
        )
        out.mkdir(parents=True, exist_ok=True)
        for number, photo in enumerate(report["photos"], start=1):
            photo["match_picture"] = _write_match_picture(
                client, photo, out / f"match-{number}.png", source
            )
        server = client.server
    gallery_points = [photo.capture.point for photo in gallery]
    demo_photos_report.draw_photo_map(report, gallery_points, out / MAP_FILE)
    pinpoint = f"pinpoint --home {shlex.quote(str(home))}"
    report |= {
        "server": server,
        "home": str(home),
        "gallery": {
            "source": source,
            "images": len(gallery),
            "without_position": len(rejections),
            "held_out": len(photos) - len(gallery),
            "indexed": batch["indexed"],
            "duplicate": batch["duplicate"],
            "rejected": batch["rejected"] + batch["failed"],
        },
        "map": str(out / MAP_FILE),
        "try": [f"{pinpoint} locate {shlex.quote(photo['photo'])}" for photo in report["photos"]][
            :_MAX_COMMANDS
        ],
        "remove": f"pinpoint destroy --home {shlex.quote(str(home))}",
    }
    if as_json:
        output.print_json(report)
    else:
        demo_photos_report.show_photo_demo(report)
    return report


def _write_match_picture(client: ApiClient, photo: Json, path: Path, source: str) -> str | None:
    """Write the match picture of a verified answer; None for other answers."""
    if not photo["verified"]:
        path.unlink(missing_ok=True)
        return None
    path.write_bytes(client.match_picture(Path(photo["photo"]), sources=[source]))
    return str(path)


def read_photos(folder: Path, settings: Settings) -> tuple[list[GeotaggedPhoto], list[Rejected]]:
    """Read the metadata of all photos as an ingest would; the pixels are decoded, too.

    Returns:
        Photos with a position, and rejections.

    Raises:
        BadRequestError: The folder does not exist.
        BadManifestError: The manifest cannot be read at all.
    """
    manifest = choose_manifest(folder, use_manifest=True)
    listed = list(find_uploads(folder, manifest, only_rows=manifest is not None))
    uploads = [upload for upload in listed if isinstance(upload, Upload)]
    rejections = [rejection for rejection in listed if isinstance(rejection, Rejected)]
    decoder = ChildDecoder(settings.media, children=_THREADS)
    photos = []

    def read_upload(upload: Upload) -> CaptureMetadata | Rejected:
        override = MetadataOverride(**upload.metadata_override)
        decoded = decoder.read(upload.name, upload.path.read_bytes(), override)
        return decoded if isinstance(decoded, Rejected) else decoded.capture

    bar, task = output.open_progress_bar(f"reading {folder.name}")
    try:
        with bar, ThreadPoolExecutor(_THREADS) as pool:
            for upload, capture in zip(uploads, pool.map(read_upload, uploads), strict=True):
                bar.update(task, advance=1, total=len(uploads))
                if isinstance(capture, Rejected):
                    rejections.append(capture)
                else:
                    photos.append(GeotaggedPhoto(upload=upload, capture=capture))
    finally:
        decoder.close()
    return photos, rejections


def hold_out(
    photos: Sequence[GeotaggedPhoto], queries: int
) -> tuple[list[GeotaggedPhoto], list[GeotaggedPhoto]]:
    """Choose queries and gallery, in an order that depends on the photos only.

    Args:
        photos: Photos with a position.
        queries: Number of groups to hold out, at most half of them; one photo of each is a query,
            and its other photos are in neither list.

    Raises:
        BadRequestError: There are fewer than two groups.
    """
    groups: dict[str, list[GeotaggedPhoto]] = {}
    for photo in sorted(photos, key=lambda photo: _shuffle_key(photo.capture.sha256)):
        groups.setdefault(photo.group, []).append(photo)
    if len(groups) < 2:
        raise BadRequestError(
            f"{len(photos)} photos have a position, of {len(groups)} panoramas, sequences or single"
            " photos; the demo needs two or more: some to locate, the others as gallery"
        )
    names = sorted(groups, key=_shuffle_key)
    held_out = names[: min(queries, len(names) // 2)]
    gallery = [photo for photo in photos if photo.group not in held_out]
    return [groups[name][0] for name in held_out], gallery


def _shuffle_key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ensure_source(
    client: ApiClient, folder: Path, gallery: Sequence[GeotaggedPhoto], kind: SourceKind
) -> str:
    """Name of the source of exactly this gallery; another choice of queries has another source.

    Otherwise a photo that is held out now could be in the gallery since an earlier run.
    """
    content = "\n".join(sorted(photo.capture.sha256 for photo in gallery))
    name = f"{folder.resolve().name} {_shuffle_key(content)[:8]}"
    if name not in {source["name"] for source in client.sources()}:
        client.add_source(
            name,
            kind,
            license=_join_names(photo.capture.license for photo in gallery) or _UNKNOWN_LICENSE,
            attribution=_join_names(photo.capture.creator for photo in gallery),
        )
    return name


def _join_names(names: Iterable[str | None]) -> str | None:
    """Distinct names in one line; None if there is none."""
    return ", ".join(sorted({name for name in names if name}))[:_MAX_NAMES_LENGTH] or None


def _ingest_gallery(client: ApiClient, source: str, gallery: Sequence[GeotaggedPhoto]) -> Json:
    bar, task = output.open_progress_bar(source)

    def show_progress(batch: Json) -> None:
        counted = ("indexed", "updated", "duplicate", "rejected", "failed")
        bar.update(task, total=batch["items"], completed=sum(batch[name] for name in counted))

    with bar:
        uploads = [photo.upload for photo in gallery]
        return client.run_flow(
            upload_files(uploads, source=source, wait=True, on_progress=show_progress)
        )
