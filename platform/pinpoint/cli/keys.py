"""`pinpoint keys`: API keys of an organization, on the machine of the stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer

from pinpoint.cli import output
from pinpoint.cli.option_values import check_choice
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import SCOPES, KeyGrant, Scope
from pinpoint.records.access import KEY_ROLES, MAX_OVERLAP_S, KeyRole
from pinpoint.records.protected_areas import GRANULARITIES, MAX_AREA_RADIUS_M, Granularity

app = typer.Typer(
    help="Create, list, rotate and revoke the API keys of an organization.", no_args_is_help=True
)

DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("locate", "read")
KeyIdArgument = Annotated[UUID, typer.Argument(help="Id of the key, from `pinpoint keys list`.")]


@app.command("create")
def create_key(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the key, for lists and the audit log.")],
    role: Annotated[
        str | None,
        typer.Option("--role", help=f"Role that implies scopes: {', '.join(KEY_ROLES)}."),
    ] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help=f"One of {', '.join(SCOPES)}; may be repeated; without --role and --scope: "
            f"{' and '.join(DEFAULT_SCOPES)}.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            help="End of its validity: an ISO 8601 time, or a number of days such as 90d.",
        ),
    ] = None,
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
    grant = KeyGrant(
        role=_parse_role(role),
        scopes=_parse_scopes(scopes) if scopes else () if role else DEFAULT_SCOPES,
        expires_at=None if expires is None else _parse_expiry(expires),
        granularity=_parse_granularity(granularity),
        min_radius_m=min_radius_m,
    )
    with session.services() as services:
        key, secret = services.api_keys.create_key(session.organization, name, grant)
    if session.as_json:
        output.print_json({"key": key, "secret": secret})
        return
    output.print_line(secret)
    until = "" if key.expires_at is None else f", until {output.format_cell(key.expires_at)} UTC"
    output.warn(
        f"key {key.name} ({key.id}) of {session.organization}: {', '.join(key.scopes)}{until}. "
        "The secret is shown only now. From now on requests without a key are refused."
    )


@app.command("list")
def list_keys(
    context: typer.Context, org: OrganizationOption = None, as_json: JsonOption = False
) -> None:
    """List the keys of an organization, without their secrets."""
    session = Session.of(context, org=org, as_json=as_json)
    with session.services() as services:
        api_keys = services.api_keys.keys(session.organization)
    if session.as_json:
        output.print_json({"keys": api_keys})
        return
    rows = [
        (
            key.name,
            key.id,
            key.role,
            key.scopes,
            key.granularity,
            key.created_at,
            key.expires_at,
            key.last_used_at,
            key.rotated_at,
            key.revoked_at,
        )
        for key in api_keys
    ]
    columns = ("name", "id", "role", "scopes", "granularity", "created (UTC)", "expires (UTC)")
    more_columns = (
        "last used (UTC)",
        "rotated (UTC)",
        "revoked (UTC)",
    )
    output.print_table(None, (*columns, *more_columns), rows)


@app.command("rotate")
def rotate_key(
    context: typer.Context,
    key_id: KeyIdArgument,
    overlap_s: Annotated[
        float,
        typer.Option(
            "--overlap",
            min=0,
            max=MAX_OVERLAP_S,
            help="Time during which the previous secret stays valid, seconds.",
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Replace the secret of an API key and print the new one, which cannot be shown again."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        owner_id = str(services.api_keys.find_key(key_id).organization_id)
        key, secret = services.api_keys.rotate_key(owner_id, key_id, overlap_s=overlap_s)
    if session.as_json:
        output.print_json({"key": key, "secret": secret})
        return
    output.print_line(secret)
    output.warn(
        f"key {key.name} ({key.id}) is rotated. The secret is shown only now. The previous one is "
        + (f"valid for {overlap_s:g} s." if overlap_s else "no longer valid.")
    )


@app.command("revoke")
def revoke_key(context: typer.Context, key_id: KeyIdArgument, as_json: JsonOption = False) -> None:
    """Revoke an API key, which stops working immediately."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        owner_id = str(services.api_keys.find_key(key_id).organization_id)
        services.api_keys.revoke_key(owner_id, key_id)
    if session.as_json:
        output.print_json({"revoked": key_id})
    else:
        output.print_line(f"key {key_id} is revoked")


def _parse_role(value: str | None) -> KeyRole | None:
    if value is None:
        return None
    for role in KEY_ROLES:
        if role == value:
            return role
    raise BadRequestError(f"unknown role {value!r}; roles are {', '.join(KEY_ROLES)}")


def _parse_granularity(text: str) -> Granularity:
    check_choice("--granularity", text, GRANULARITIES)
    return next(granularity for granularity in GRANULARITIES if granularity == text)


def _parse_scopes(values: list[str]) -> tuple[Scope, ...]:
    names = [name for value in values for name in value.replace(",", " ").split()]
    unknown = sorted(set(names) - set(SCOPES))
    if unknown or not names:
        raise BadRequestError(f"unknown scope {unknown}; scopes are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in names)


def _parse_expiry(value: str) -> datetime:
    """Parse a number of days (`90d`) or an ISO 8601 time; a time without a zone is UTC."""
    try:
        if value.endswith("d"):
            return datetime.now(UTC) + timedelta(days=float(value[:-1]))
        expires_at = datetime.fromisoformat(value)
        if expires_at.tzinfo is None:
            return expires_at.replace(tzinfo=UTC)
        return expires_at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(
            f"--expires {value!r} is neither an ISO 8601 time, such as 2027-06-30T00:00Z, nor a "
            "number of days, such as 90d"
        ) from error
