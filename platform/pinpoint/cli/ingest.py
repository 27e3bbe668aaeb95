"""`pinpoint ingest`: ingests a folder or a manifest as a batch."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from pinpoint.cli import output
from pinpoint.cli.batch_waiting import count_processed, explain_continuation
from pinpoint.cli.batches import show_counts, show_errors
from pinpoint.cli.exit_codes import FAILED_ITEMS
from pinpoint.cli.folder_uploads import check_upload, choose_manifest, count_photos_with_track
from pinpoint.cli.ingest_urls import ingest_remote, is_remote
from pinpoint.cli.metadata_options import (
    ClockOption,
    ColumnOption,
    TimeZoneOption,
    TrackOption,
    describe_columns,
    describe_sidecars,
    find_files_beside,
    find_manifest,
    note_lines,
    other_files_to_dict,
    read_options,
)
from pinpoint.cli.option_values import ORIGINALS_POLICIES, check_choice, check_exists, check_kinds
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.records import Batch, ReadOptions, SourceKind

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.media.missing_files import MissingFiles

_MIN_WAIT_S: Final = 0.1
_MAX_WAIT_S: Final = 1.0


PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A folder or a manifest; with --server also a single file. Or files elsewhere: "
        "`https://…`, `s3://bucket/prefix/`, `gs://bucket/prefix/`, or a list of URLs "
        "(`list.jsonl`).",
    ),
]
SourceOption = Annotated[
    str, typer.Option("--source", help="Name of the source that receives the files.")
]
SourceKindOption = Annotated[
    str | None,
    typer.Option(
        "--source-kind",
        metavar="KIND",
        help="Source kind, `photo` or `street`; creates the source if it is new.",
    ),
]
OriginalsOption = Annotated[
    str | None,
    typer.Option(
        "--originals",
        help="For a new source, what to keep of a file: a `reference`, a `copy` or a `rendition`.",
    ),
]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        help="Manifest in PATH or elsewhere, such as `photos.csv` or `photos.gpkg`: CSV, GeoJSON, "
        "GeoParquet, GeoPackage, FlatGeobuf or Shapefile. Its file names are relative to PATH, and "
        "only the files that it names are read.",
    ),
]
NoManifestOption = Annotated[bool, typer.Option("--no-manifest", help="Ignore a manifest in PATH.")]
RootOption = Annotated[
    str | None,
    typer.Option(
        "--root",
        help="Name of a new root, the first part of the external ids; the default is the name of "
        "the folder. With --server there is no root by default.",
    ),
]
RemoveMissingOption = Annotated[
    bool,
    typer.Option(
        "--remove-missing", help="Delete images if their file below PATH no longer exists."
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Delete many images without confirmation.")]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until every file is processed.")
]


app = typer.Typer()


@app.command()
def ingest(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    target: PathArgument,
    source: SourceOption,
    source_kind: SourceKindOption = None,
    originals: OriginalsOption = None,
    manifest: ManifestOption = None,
    no_manifest: NoManifestOption = False,
    root: RootOption = None,
    remove_missing: RemoveMissingOption = False,
    yes: YesOption = False,
    track: TrackOption = None,
    time_zone: TimeZoneOption = None,
    camera_clock_offset: ClockOption = None,
    column: ColumnOption = None,
    wait: WaitOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest a folder: the embedded stack registers files in place, a server receives uploads."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_kinds("--source-kind", [source_kind])
    check_choice("--originals", originals, ORIGINALS_POLICIES)
    if is_remote(target):
        batch = ingest_remote(
            session,
            target,
            source=source,
            source_kind=source_kind,
            originals=originals,
            wait=wait,
        )
        _finish_command(session, batch)
        return
    path = Path(target)
    check_exists(path)
    if manifest is not None and no_manifest:
        raise BadRequestError("--manifest and --no-manifest cannot be combined")
    request = _IngestRequest(
        path=path,
        source=source,
        kind=source_kind,
        originals=originals,
        manifest=None if manifest is None else find_manifest(path, manifest),
        use_manifest=not no_manifest,
        root=root,
        remove_missing=remove_missing,
        yes=yes,
        options=read_options(track, time_zone, camera_clock_offset, column),
        wait=wait,
    )
    _note_columns(request)
    remote = session.server is not None or session.key is not None
    batch = _upload_files(session, request) if remote else _register_files(session, request)
    others = find_files_beside(path)
    batch |= {
        name: value
        for name, value in other_files_to_dict(others).items()
        if name in ("sidecars", "sidecars_not_read")
    }
    _finish_command(session, batch, describe_sidecars(others))


def _finish_command(session: Session, batch: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Print the batch; failed files give an exit code."""
    if session.as_json:
        output.print_json(batch)
    else:
        _print_batch(batch)
        note_lines(list(notes))
    if batch["failed"]:
        raise typer.Exit(FAILED_ITEMS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _IngestRequest:
    """Options of one ingest."""

    path: Path
    source: str
    kind: str | None
    originals: str | None
    manifest: Path | None
    use_manifest: bool
    root: str | None
    remove_missing: bool
    yes: bool
    options: ReadOptions
    wait: bool


def _print_batch(batch: dict[str, Any]) -> None:
    if batch["manifest"]:
        output.print_line(f"manifest {batch['manifest']} is used (--no-manifest reads without it)")
    if batch.get("root_is_new"):
        output.print_line(f"new root {batch['root']} of source {batch['source']}")
    show_counts([batch])
    show_errors(batch, how_to_list=True)
    _show_missing(batch)
    _show_not_sent(batch["not_sent"])
    if batch["repeated"]:
        output.warn(f"{batch['repeated']} requests were repeated: the server was unavailable")


def _show_missing(batch: dict[str, Any]) -> None:
    """Print how many ingested files no longer exist."""
    if not batch.get("missing"):
        return
    if batch["removed"]:
        output.print_line(
            f"{batch['missing']} files of this folder are gone: {batch['removed']} images are "
            "being removed"
        )
        return
    output.print_line(
        f"{batch['missing']} files of this folder are gone and their images stay; list them: "
        f"pinpoint sources missing {batch['source']}; remove them: pinpoint ingest with "
        "--remove-missing"
    )


def _show_not_sent(rejected: list[dict[str, str]]) -> None:
    """Print the rows and files that were rejected on this machine; they are in no batch."""
    if rejected:
        output.print_line(f"{len(rejected)} more were rejected on this machine and not sent:")
        names = ("file", "error_stage", "error_code", "error_message")
        output.print_table(None, names, [[row[name] for name in names] for row in rejected])


def _upload_files(session: Session, request: _IngestRequest) -> dict[str, Any]:
    if request.remove_missing:
        raise BadRequestError(
            "--remove-missing works only on the machine of the stack, which has the folders of the "
            "source; with --server use `pinpoint images delete`"
        )
    if request.options.track is not None:
        raise BadRequestError(
            "GPX tracks are not sent: --track works on the machine of the stack, without --server"
        )
    num_tracked = 0 if request.manifest else count_photos_with_track(request.path)
    if num_tracked:
        output.warn(
            f"GPX tracks are not sent: {num_tracked} photos are in a folder with a track, and "
            "those without their own position will be rejected (no_position); ingest them on the "
            "machine of the stack, or give their positions in a manifest"
        )
    with session.client() as client:
        try:
            client.source(request.source)
        except NotFoundError:
            if request.kind is None:
                raise
            check_upload(request.path, manifest=request.manifest, use_manifest=request.use_manifest)
            client.add_source(request.source, request.kind, originals=request.originals or "copy")
        bar, task = output.open_progress_bar("ingest")
        latest: list[dict[str, Any]] = []

        def show_progress(batch: dict[str, Any]) -> None:
            latest[:] = [batch]
            bar.update(task, completed=count_processed(batch), total=max(batch["items"], 1))

        with explain_continuation(lambda: next(iter(latest), None)), bar:
            return client.ingest_folder(
                request.path,
                source=request.source,
                manifest=request.manifest,
                use_manifest=request.use_manifest,
                root=request.root,
                options=request.options,
                wait=request.wait,
                on_progress=show_progress,
            )


def _register_files(session: Session, request: _IngestRequest) -> dict[str, Any]:
    from pinpoint.ingest import register

    def confirm(missing: MissingFiles) -> bool:
        return _confirm_removal(session, missing, yes=request.yes)

    with session.services() as services:
        organization_id = session.find_organization(services).id
        registered = register.register_files(
            request.path,
            source=request.source,
            kind=cast("SourceKind | None", request.kind),
            originals=ORIGINALS_POLICIES[request.originals or "reference"],
            manifest=request.manifest,
            use_manifest=request.use_manifest,
            root_name=request.root,
            confirm_removal=confirm if request.remove_missing else None,
            organization_id=organization_id,
            database=services.database,
            settings=services.settings,
            options=request.options,
        )
        batch = registered.batch
        if request.wait:
            with explain_continuation(lambda: batch_to_dict(batch)):
                batch = _wait_for_batch(services, organization_id, batch)
        with services.database.read(organization_id) as catalog:
            error_counts = catalog.error_counts(batch.id)
    manifest, missing = registered.manifest, registered.missing
    return batch_to_dict(batch) | {
        "error_counts": error_counts,
        "manifest": None if manifest is None else manifest.name,
        "root": registered.root.name,
        "root_is_new": registered.root_is_new,
        "missing": None if missing is None else len(missing.external_ids),
        "removed": registered.removed,
    }


def _confirm_removal(session: Session, missing: MissingFiles, *, yes: bool) -> bool:
    """Whether images of missing files may be removed; many need --yes or a confirmation."""
    if yes or not missing.is_suspicious:
        return True
    summary = (
        f"{len(missing.external_ids)} of the {missing.num_ingested} ingested files of this folder"
    )
    if session.as_json or not sys.stdin.isatty():
        raise BadRequestError(
            f"{summary} are gone; give --yes to remove their images, or check that this is the "
            "right folder"
        )
    typer.confirm(f"{summary} are gone. Remove their images?", abort=True)
    return True


def _note_columns(request: _IngestRequest) -> None:
    """Print the unknown columns of the manifest, before any file is registered."""
    from pinpoint.media.manifests.manifest_files import describe_manifest
    from pinpoint.settings_file import load_settings

    manifest = request.manifest or choose_manifest(request.path, use_manifest=request.use_manifest)
    if manifest is not None:
        summary = describe_manifest(manifest, load_settings().media, request.options)
        note_lines(describe_columns(summary))


def _wait_for_batch(services: Services, organization_id: Any, batch: Batch) -> Batch:
    """Show a progress bar until every file is processed."""
    bar, task = output.open_progress_bar("ingest")
    pause_s = _MIN_WAIT_S
    with bar:
        while True:
            with services.database.read(organization_id) as catalog:
                batch = catalog.batch(batch.id)
            bar.update(task, completed=batch.processed, total=max(batch.items, 1))
            if batch.is_processed:
                return batch
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, _MAX_WAIT_S)


def batch_to_dict(batch: Batch) -> dict[str, Any]:
    """Convert a batch to the form of an upload's result; no files are sent."""
    fields: dict[str, Any] = dataclasses.asdict(batch)
    as_text: Callable[[Any], Any] = output.to_json_value
    fields = {
        name: value if isinstance(value, int | str | None) else as_text(value)
        for name, value in fields.items()
    }
    return {**fields, "is_processed": batch.is_processed, "not_sent": [], "repeated": 0}
