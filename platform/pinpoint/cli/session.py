"""What every command knows: which server, whose name, which form of output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pinpoint.client import Client
from pinpoint.errors import BadRequest

if TYPE_CHECKING:
    from pinpoint.bootstrap import Role, Services
    from pinpoint.records import Organization
    from pinpoint.settings import Settings

DEFAULT_ORGANIZATION = "default"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="PINPOINT_SERVER",
        help="Base URL of an API; without it, this machine's embedded stack.",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="PINPOINT_KEY", help="API key.", show_default=False),
]
Org = Annotated[
    str | None,
    typer.Option(
        "--org",
        envvar="PINPOINT_ORG",
        help="Organization to act as; on the embedded stack, without a key.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The global options, as given before or after the command."""

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
        """Options after the command win over those before it."""
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
        """The organization that the operator of this machine acts as."""
        return self.org or DEFAULT_ORGANIZATION

    def client(self) -> Client:
        """A client of the server, or of the embedded stack.

        Raises:
            StackError: No server was given and no embedded stack is running.
        """
        return Client.open(server=self.server, key=self.key, organization=self.org)

    @contextmanager
    def services(
        self, role: Role = "operator", settings: Settings | None = None
    ) -> Iterator[Services]:
        """The parts themselves, for commands that only the operator of this machine has.

        Args:
            role: `api` sees one organization's views only, as the API does.
            settings: Other ones than the environment's.

        Raises:
            BadRequest: A server or key was named: these commands do not go over the API.
            StackError: They need the embedded stack, and it does not run.
        """
        if self.server is not None or self.key is not None:
            raise BadRequest(
                "this command works on the stack itself, not over the API; run it on the machine "
                "of the stack, without --server and --key"
            )
        # Imported here so that `pinpoint --help` opens and loads nothing.
        from pinpoint.settings import Settings
        from pinpoint.stack.missing import check_running

        settings = settings or Settings.from_environment()
        check_running(settings)
        from pinpoint import bootstrap

        services = bootstrap.build(settings, role)
        try:
            yield services
        finally:
            services.close()

    def own(self, services: Services) -> Organization:
        """The organization the operator acts as.

        Raises:
            NotFound: There is none of that name.
        """
        return services.access.organization(self.organization)
