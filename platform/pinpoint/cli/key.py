"""`pinpoint key`: the operator's key of this machine, for `curl` and other programs."""

from __future__ import annotations

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import ForbiddenError
from pinpoint.settings import ServiceSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor.running import missing_stack

app = typer.Typer()


@app.command("key")
def show_key(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the operator's key of this machine, for `curl` and other programs.

    curl -H "Authorization: Bearer $(pinpoint key)" URL

    The key has all rights in all organizations, on this machine only. Create separate keys for
    other users: `pinpoint keys create NAME`.
    """
    session = Session.of(context, as_json=as_json)
    key = read_operator_key(StackPaths(ServiceSettings().home))
    if session.as_json:
        output.print_json({"key": key})
    else:
        output.print_line(key)


def read_operator_key(paths: StackPaths) -> str:
    """Read the operator's key of a home.

    Raises:
        StackError: `pinpoint up` never ran with this home.
        ForbiddenError: The key belongs to another user, or others can read it, so the API ignores
            it.
    """
    path = paths.operator_key_file
    try:
        readable_by_others = path.stat().st_mode & 0o077
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise missing_stack(paths.home) from error
    except PermissionError as error:
        raise ForbiddenError(
            f"{path} belongs to another user; ask the operator for an API key"
        ) from error
    if readable_by_others:
        raise ForbiddenError(
            f"other users can read {path}, so the API ignores it; run: chmod 600 {path}"
        )
    return key
