"""`pinpoint sources`: collections of images of one kind."""

from __future__ import annotations

from typing import Annotated

import typer

from pinpoint.cli import output
from pinpoint.cli.session import Json, Key, Org, Server, Session
from pinpoint.cli.values import ORIGINALS, check_choice, check_kinds
from pinpoint.errors import BadRequest

app = typer.Typer(help="Sources: collections of images of one kind.", no_args_is_help=True)


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name, unique in the organisation.")],
    kind: Annotated[str, typer.Option("--kind", help="`photo` or `street`.")] = "photo",
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of its images, shown with citations.")
    ] = None,
    attribution: Annotated[
        str | None, typer.Option("--attribution", help="Whom to name, shown with citations.")
    ] = None,
    originals: Annotated[
        str, typer.Option("--originals", help="`reference`, `copy` or `rendition`.")
    ] = "copy",
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Add a source."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_kinds("--kind", [kind])
    check_choice("--originals", originals, ORIGINALS)
    with session.client() as client:
        made = client.add_source(
            name, kind, licence=licence, attribution=attribution, originals=originals
        )
    if session.as_json:
        output.show_json(made)
    else:
        output.say(f"source {made['name']} ({made['kind']}, {made['id']})")


@app.command("list")
def list_sources(
    context: typer.Context,
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """List all sources."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        found = client.sources()
    if session.as_json:
        output.show_json({"sources": found})
        return
    columns = ("name", "kind", ">images", "originals", "id", "licence", "attribution")
    output.table(None, columns, [[one[name.lstrip(">")] for name in columns] for one in found])


@app.command("erase")
def erase(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name or id of the source.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Erase a source with all its images: rows, index points and stored bytes."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        if not yes:
            if session.as_json:
                raise BadRequest("erasing with --json needs --yes: there is nobody to ask")
            images = client.source(name)["images"]
            typer.confirm(f"Erase source {output.plain(name)} with {images} images?", abort=True)
        erased = client.erase_source(name)
    if session.as_json:
        output.show_json({"source": name, "images": erased})
    else:
        output.say(f"source {name}: {erased} images are being erased")
