"""`pinpoint sources`: collections of images of one source kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.option_values import ORIGINALS_POLICIES, check_choice, check_kinds
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records.protected_areas import ImageAccess

app = typer.Typer(
    help="Manage sources: collections of images of one source kind.", no_args_is_help=True
)

IMAGE_ACCESSES: Final = get_args(ImageAccess)
ImageAccessOption = Annotated[
    str,
    typer.Option(
        "--image-access",
        help="What API keys may see of the images: `none`, `thumbnail` or `full`. Images are "
        "served as ingested, faces and number plates included.",
    ),
]
SourceArgument = Annotated[str, typer.Argument(help="Name or id of the source.")]


@app.command("add")
def add(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the source, unique in the organization.")],
    source_kind: Annotated[
        str,
        typer.Option("--source-kind", metavar="KIND", help="Source kind, `photo` or `street`."),
    ] = "photo",
    license: Annotated[
        str | None, typer.Option("--license", help="License of the images, shown with citations.")
    ] = None,
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", help="Creator to credit, shown with citations."),
    ] = None,
    originals: Annotated[
        str,
        typer.Option(
            "--originals", help="What to keep of a file: a `reference`, a `copy` or a `rendition`."
        ),
    ] = "copy",
    image_access: ImageAccessOption = "full",
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a source."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_kinds("--source-kind", [source_kind])
    check_choice("--originals", originals, ORIGINALS_POLICIES)
    check_choice("--image-access", image_access, IMAGE_ACCESSES)
    with session.client() as client:
        source = client.add_source(
            name,
            source_kind,
            license=license,
            attribution=attribution,
            originals=originals,
            image_access=image_access,
        )
    if session.as_json:
        output.print_json(source)
    else:
        output.print_line(f"source {source['name']} ({source['kind']}, {source['id']})")


@app.command("list")
def list_sources(
    context: typer.Context,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all sources."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        sources = client.sources()
    if session.as_json:
        output.print_json({"sources": sources})
        return
    columns = ("name", "kind", ">images", "originals", "id", "roots", "license", "attribution")
    output.print_table(
        None, columns, [[source[name.lstrip(">")] for name in columns] for source in sources]
    )


@app.command("update")
def update(
    context: typer.Context,
    name: SourceArgument,
    image_access: ImageAccessOption,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set what API keys may see of the images of a source."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_choice("--image-access", image_access, IMAGE_ACCESSES)
    with session.client() as client:
        source = client.set_image_access(name, image_access)
    if session.as_json:
        output.print_json(source)
    else:
        output.print_line(f"source {source['name']}: image access {source['image_access']}")


@app.command("roots")
def list_roots(
    context: typer.Context,
    name: SourceArgument,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the roots of a source: its folders on this machine."""
    session = Session.of(context, org=org, as_json=as_json)
    with (
        session.services() as services,
        services.database.read(session.find_organization(services).id) as catalog,
    ):
        source = catalog.source(name)
    if session.as_json:
        output.print_json({"source": source.name, "roots": source.roots})
    else:
        output.print_table(
            None, ("root", "path"), [[root.name, root.path] for root in source.roots]
        )


@app.command("move-root")
def move_root(
    context: typer.Context,
    name: SourceArgument,
    root: Annotated[str, typer.Argument(help="Name of the root; see `pinpoint sources roots`.")],
    path: Annotated[Path, typer.Argument(help="New path of the folder.")],
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the path of a root after its folder was moved; all ids stay the same."""
    session = Session.of(context, org=org, as_json=as_json)
    folder = path.expanduser().resolve()
    if not folder.is_dir():
        raise BadRequestError(f"there is no folder {folder}")
    with (
        session.services() as services,
        services.database.write(session.find_organization(services).id) as catalog,
    ):
        source = catalog.source(name)
        num_images = catalog.move_root(source.id, root, str(folder))
    if session.as_json:
        output.print_json(
            {"source": source.name, "root": root, "path": folder, "images": num_images}
        )
    else:
        output.print_line(
            f"root {root} of source {source.name} is {folder}, with {num_images} images"
        )


@app.command("missing")
def list_missing(
    context: typer.Context,
    name: SourceArgument,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List files of a source that are missing from its folders on this machine."""
    from pinpoint.media.missing_files import find_missing_files, has_visible_entries

    session = Session.of(context, org=org, as_json=as_json)
    missing_files: list[tuple[str, str]] = []
    unread_roots: list[str] = []
    with (
        session.services() as services,
        services.database.read(session.find_organization(services).id) as catalog,
    ):
        source = catalog.source(name)
        for root in source.roots:
            folder = Path(root.path)
            if not has_visible_entries(folder):
                unread_roots.append(root.name)
                continue
            missing = find_missing_files(catalog, source, root, folder)
            missing_files += [(root.name, external_id) for external_id in missing.external_ids]
    if session.as_json:
        entries = [
            {"root": root, "external_id": external_id} for root, external_id in missing_files
        ]
        output.print_json({"source": source.name, "missing": entries, "unread_roots": unread_roots})
        return
    output.print_table(None, ("root", "external id"), missing_files)
    for root_name in unread_roots:
        output.warn(f"root {root_name} is empty or cannot be opened; its files are not counted")


@app.command("delete")
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name or id of the source.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a source with all its images: their rows, index points and stored files."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        name = ids.find_source(client, name)
        if not yes:
            if session.as_json:
                raise BadRequestError(
                    "deleting with --json needs --yes: it cannot ask for confirmation"
                )
            images = client.source(name)["images"]
            typer.confirm(
                f"Delete source {output.replace_unprintable(name)} with {images} images?",
                abort=True,
            )
        num_images = client.erase_source(name)
    if session.as_json:
        output.print_json({"source": name, "images": num_images})
    else:
        output.print_line(f"source {name}: {num_images} images are being deleted")
