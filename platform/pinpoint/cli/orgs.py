"""`pinpoint orgs`: organizations, on the machine of the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pinpoint.cli import output
from pinpoint.cli.index import rebuild_index
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import BadRequestError, ConfigurationError

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

app = typer.Typer(
    help="Create, disable and delete organizations; an organization sees only its own data.",
    no_args_is_help=True,
)

OrganizationArgument = Annotated[str, typer.Argument(help="Name of the organization.")]


@app.command("create")
def create_org(
    context: typer.Context, name: OrganizationArgument, as_json: JsonOption = False
) -> None:
    """Create an organization."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        organization = services.api_keys.create_organization(name)
    if session.as_json:
        output.print_json(organization)
    else:
        output.print_line(f"organization {organization.name} ({organization.id})")


@app.command("list")
def list_orgs(context: typer.Context, as_json: JsonOption = False) -> None:
    """List all organizations."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        organizations = services.api_keys.organizations()
    if session.as_json:
        output.print_json({"organizations": organizations})
    else:
        rows = [
            (organization.name, organization.id, organization.created_at)
            for organization in organizations
        ]
        output.print_table(None, ("name", "id", "created (UTC)"), rows)


@app.command("disable")
def disable_org(
    context: typer.Context, name: OrganizationArgument, as_json: JsonOption = False
) -> None:
    """Disable an organization, so that all its API keys stop working."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        services.api_keys.disable_organization(name)
    if session.as_json:
        output.print_json({"disabled": name})
    else:
        output.print_line(f"organization {name} is disabled")


@app.command("delete")
def delete_org(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name or id of the organization.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete an organization with its rows, keys, audit log, index points and stored files."""
    session = Session.of(context, as_json=as_json)
    if not yes:
        if session.as_json:
            raise BadRequestError(
                "deleting with --json needs --yes: it cannot ask for confirmation"
            )
        typer.confirm(
            f"Delete organization {output.replace_unprintable(name)} and all its data?", abort=True
        )
    with session.services() as services:
        organization_id, images = _delete_organization(services, name)
    if session.as_json:
        output.print_json({"organization": name, "id": organization_id, "images": images})
    else:
        output.print_line(f"organization {name} ({organization_id}): {images} images deleted")


def _delete_organization(services: Services, name: str) -> tuple[UUID, int]:
    """Delete the rows and blobs, then rebuild the index and compact the tables.

    The index files and table files still contain deleted data until then.
    """
    from pinpoint.ingest.erase import erase_organization
    from pinpoint.stack.backup.compaction import compact_tables
    from pinpoint.stack.paths import StackPaths
    from pinpoint.store.vectors.payload import new_build

    if services.tenant_deletion is None or services.repository is None:
        raise ConfigurationError(
            "the API's services cannot delete an organization; use those of the operator"
        )
    organization_id = services.tenant_deletion.find(name)
    images = erase_organization(
        organization_id,
        tenant_deletion=services.tenant_deletion,
        repository=services.repository,
        index=services.index,
        blobs=services.blobs,
        features=services.matching,
        on_message=output.warn,
    )
    first_build = new_build()
    while (rebuild_index(services).build or first_build) < first_build:
        output.warn("that rebuild began before the deletion; rebuilding again")
    output.warn("compacting the tables")
    service_settings = services.settings.services
    superuser_url = StackPaths(service_settings.home).superuser_url()
    compact_tables(
        service_settings.database_url or superuser_url,
        private=service_settings.database_url is None,
    )
    return organization_id, images
