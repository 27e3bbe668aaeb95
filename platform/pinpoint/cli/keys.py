"""`pinpoint keys`: API keys of an organization, on the machine of the stack."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from pinpoint.cli import output
from pinpoint.cli.option_values import check_choice
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import SCOPES, KeyGrant, Scope
from pinpoint.records.protected_areas import GRANULARITIES, MAX_AREA_RADIUS_M, Granularity

app = typer.Typer(
    help="Create, list and revoke the API keys of an organization.", no_args_is_help=True
)


@app.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the key, shown in lists.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", help=f"One of {', '.join(SCOPES)}; may be repeated."),
    ] = ["locate", "read"],  # noqa: B006
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            help="Finest statement about a position in a protected area: `exact` (sees all), "
            "`radius` (what each area permits), `city`, `country` or `refuse`.",
        ),
    ] = "radius",
    min_radius_m: Annotated[
        float,
        typer.Option(
            "--min-radius-m",
            min=0,
            max=MAX_AREA_RADIUS_M,
            help="Minimum radius of each answer in meters.",
        ),
    ] = 0.0,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an API key and print its secret, which cannot be shown again."""
    session = Session.of(context, org=org, as_json=as_json)
    parsed_scopes = _parse_scopes(scopes)
    parsed_granularity = _parse_granularity(granularity)
    with session.services() as services:
        key, secret = services.api_keys.create_key(
            session.find_organization(services).name,
            name,
            KeyGrant(
                scopes=parsed_scopes, granularity=parsed_granularity, min_radius_m=min_radius_m
            ),
        )
    if session.as_json:
        output.print_json({"key": key, "secret": secret})
        return
    output.print_line(secret)
    output.warn(
        f"key {key.name} ({key.id}) of {session.organization}: {', '.join(key.scopes)}. "
        "The secret is shown only now. From now on requests without a key are refused."
    )


@app.command("list")
def list_keys(
    context: typer.Context, org: OrganizationOption = None, as_json: JsonOption = False
) -> None:
    """List the keys of an organization, without their secrets."""
    session = Session.of(context, org=org, as_json=as_json)
    with session.services() as services:
        api_keys = services.api_keys.keys(session.find_organization(services).name)
    if session.as_json:
        output.print_json({"keys": api_keys})
        return
    rows = [
        (
            key.name,
            key.id,
            key.scopes,
            key.granularity,
            key.created_at,
            key.last_used_at,
            key.revoked_at,
        )
        for key in api_keys
    ]
    columns = (
        "name",
        "id",
        "scopes",
        "granularity",
        "created (UTC)",
        "last used (UTC)",
        "revoked (UTC)",
    )
    output.print_table(None, columns, rows)


@app.command("revoke")
def revoke_key(
    context: typer.Context,
    key_id: Annotated[UUID, typer.Argument(help="Id of the key, from `pinpoint keys list`.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke an API key, which stops working immediately."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        services.api_keys.revoke_key(key_id)
    if session.as_json:
        output.print_json({"revoked": key_id})
    else:
        output.print_line(f"key {key_id} is revoked")


def _parse_granularity(text: str) -> Granularity:
    check_choice("--granularity", text, GRANULARITIES)
    return next(granularity for granularity in GRANULARITIES if granularity == text)


def _parse_scopes(values: list[str]) -> tuple[Scope, ...]:
    names = [name for value in values for name in value.replace(",", " ").split()]
    unknown = sorted(set(names) - set(SCOPES))
    if unknown or not names:
        raise BadRequestError(f"unknown scope {unknown}; scopes are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in names)
