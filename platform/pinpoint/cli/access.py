"""`pinpoint orgs` and `pinpoint keys`: organizations and API keys, on the machine of the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pinpoint.cli import output
from pinpoint.cli.index import rebuild_index
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError, ConfigurationError
from pinpoint.records import SCOPES, Scope

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

orgs = typer.Typer(help="Organizations; each one sees only its own data.", no_args_is_help=True)
keys = typer.Typer(help="API keys of an organization.", no_args_is_help=True)

OrganizationArgument = Annotated[str, typer.Argument(help="Name of the organization.")]


@orgs.command("create")
def create_org(
    context: typer.Context, name: OrganizationArgument, as_json: JsonOption = False
) -> None:
    """Create an organization."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        organization = services.access.create_organization(name)
    if session.as_json:
        output.print_json(organization)
    else:
        output.print_line(f"organization {organization.name} ({organization.id})")


@orgs.command("list")
def list_orgs(context: typer.Context, as_json: JsonOption = False) -> None:
    """List all organizations."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        organizations = services.access.organizations()
    if session.as_json:
        output.print_json({"organizations": organizations})
    else:
        rows = [
            (organization.name, organization.id, organization.created_at)
            for organization in organizations
        ]
        output.print_table(None, ("name", "id", "created"), rows)


@orgs.command("revoke")
def revoke_org(
    context: typer.Context, name: OrganizationArgument, as_json: JsonOption = False
) -> None:
    """Disable an organization: all its API keys stop working."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        services.access.revoke_organization(name)
    if session.as_json:
        output.print_json({"revoked": name})
    else:
        output.print_line(f"organization {name} is revoked")


@orgs.command("erase")
def erase_org(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name or id of the organization.")],
    yes: Annotated[bool, typer.Option("--yes", help="Erase without confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase an organization: its rows, keys, audit log, index points and stored files."""
    session = Session.of(context, as_json=as_json)
    if not yes:
        if session.as_json:
            raise BadRequestError("erasing with --json needs --yes: it cannot ask for confirmation")
        typer.confirm(
            f"Erase organization {output.replace_unprintable(name)} and all its data?", abort=True
        )
    with session.services() as services:
        organization_id, images = _erase_organization(services, name)
    if session.as_json:
        output.print_json({"organization": name, "id": organization_id, "images": images})
    else:
        output.print_line(f"organization {name} ({organization_id}): {images} images erased")


def _erase_organization(services: Services, name: str) -> tuple[UUID, int]:
    """Erase the rows and blobs, then rebuild the index and compact the tables.

    The index files and table files still contain erased data until then.
    """
    from pinpoint.ingest.erase import erase_organization
    from pinpoint.stack.backup.compaction import compact_tables
    from pinpoint.stack.paths import StackPaths
    from pinpoint.store.vectors.payload import new_build

    if services.closing is None or services.ledger is None:
        raise ConfigurationError("the API's services cannot erase; use those of the operator")
    organization_id = services.closing.find(name)
    images = erase_organization(
        organization_id,
        closing=services.closing,
        ledger=services.ledger,
        index=services.index,
        blobs=services.blobs,
        say=output.warn,
    )
    first_build = new_build()
    while (rebuild_index(services).build or first_build) < first_build:
        output.warn("that rebuild began before the erasure; rebuilding again")
    output.warn("compacting the tables")
    service_settings = services.settings.places
    superuser_url = StackPaths(service_settings.home).superuser_url()
    compact_tables(
        service_settings.database_url or superuser_url,
        private=service_settings.database_url is None,
    )
    return organization_id, images


@keys.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the key, shown in lists.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help=f"One or more of: {', '.join(SCOPES)}.")
    ] = ["locate", "read"],  # noqa: B006
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an API key and print its secret, which cannot be shown again."""
    session = Session.of(context, org=org, as_json=as_json)
    scopes = _parse_scopes(scope)
    with session.services() as services:
        key, secret = services.access.create_key(session.own(services).name, name, scopes)
    if session.as_json:
        output.print_json({"key": key, "secret": secret})
        return
    output.print_line(secret)
    output.warn(
        f"key {key.name} ({key.id}) of {session.organization}: {', '.join(key.scopes)}. "
        "The secret is shown only now. From now on requests without a key are refused."
    )


@keys.command("list")
def list_keys(
    context: typer.Context, org: OrganizationOption = None, as_json: JsonOption = False
) -> None:
    """List the keys of an organization, without their secrets."""
    session = Session.of(context, org=org, as_json=as_json)
    with session.services() as services:
        api_keys = services.access.keys(session.own(services).name)
    if session.as_json:
        output.print_json({"keys": api_keys})
        return
    rows = [
        (key.name, key.id, key.scopes, key.created_at, key.last_used_at, key.revoked_at)
        for key in api_keys
    ]
    output.print_table(None, ("name", "id", "scopes", "created", "last used", "revoked"), rows)


@keys.command("revoke")
def revoke_key(
    context: typer.Context,
    key_id: Annotated[UUID, typer.Argument(help="Id of the key, from `pinpoint keys list`.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke an API key: it stops working."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        services.access.revoke_key(key_id)
    if session.as_json:
        output.print_json({"revoked": key_id})
    else:
        output.print_line(f"key {key_id} is revoked")


def _parse_scopes(values: list[str]) -> tuple[Scope, ...]:
    names = [name for value in values for name in value.replace(",", " ").split()]
    unknown = sorted(set(names) - set(SCOPES))
    if unknown or not names:
        raise BadRequestError(f"unknown scope {unknown}; scopes are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in names)
