"""Options shared by all commands: server, API key, organization and output format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import BadRequestError
from pinpoint.records import DEFAULT_ORGANIZATION

if TYPE_CHECKING:
    from pinpoint.bootstrap import ProcessRole, Services
    from pinpoint.records import Organization
    from pinpoint.settings import Settings


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="PINPOINT_SERVER",
        help="Base URL of an API; the default is the embedded stack of this machine.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar="PINPOINT_KEY", help="API key for the API.", show_default=False),
]
OrganizationOption = Annotated[
    str | None,
    typer.Option(
        "--org",
        envvar="PINPOINT_ORG",
        help="Organization to act as; only for the embedded stack, without --key.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
GeoJsonOption = Annotated[
    bool, typer.Option("--geojson", help="Print a GeoJSON FeatureCollection.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Global options, given before or after the command."""

    server: str | None = None
    key: str | None = None
    org: str | None = None
    as_json: bool = False

    @classmethod
    def of(
        cls,
        context: typer.Context,
        *,
        server: str | None = None,
        key: str | None = None,
        org: str | None = None,
        as_json: bool = False,
    ) -> Session:
        """Combine the options; those after the command override those before it."""
        before = context.find_root().obj
        outer = before if isinstance(before, Session) else cls()
        return cls(
            server=server or outer.server,
            key=key or outer.key,
            org=org or outer.org,
            as_json=as_json or outer.as_json,
        )

    @property
    def organization(self) -> str:
        """Name of the organization that the operator of this machine acts as."""
        return self.org or DEFAULT_ORGANIZATION

    def client(self) -> ApiClient:
        """Open a client of the server, or of the embedded stack.

        Raises:
            StackError: No server was given and no embedded stack is running.
        """
        return ApiClient.open(server=self.server, key=self.key, organization=self.org)

    @contextmanager
    def services(
        self, role: ProcessRole = "operator", settings: Settings | None = None
    ) -> Iterator[Services]:
        """Open the components directly, for commands of the operator of this machine.

        Args:
            role: `api` reads only the views of one organization, as the API does.
            settings: Settings to use; those of the environment if None.

        Raises:
            BadRequestError: A server or key was given; these commands do not use the API.
            StackError: The components need the embedded stack, which is not running.
        """
        if self.server is not None or self.key is not None:
            raise BadRequestError(
                "this command works on the stack itself, not over the API; run it on the machine "
                "of the stack, without --server and --key"
            )
        # Imported here so that `pinpoint --help` starts without loading these modules.
        from pinpoint.settings_file import load_settings
        from pinpoint.stack.supervisor.running import check_running

        settings = settings or load_settings()
        check_running(settings)
        from pinpoint import bootstrap

        services = bootstrap.build_services(settings, role)
        try:
            yield services
        finally:
            services.close()

    def find_organization(self, services: Services) -> Organization:
        """Organization that the operator acts as.

        Raises:
            NotFoundError: No organization has this name.
        """
        return services.api_keys.organization(self.organization)
