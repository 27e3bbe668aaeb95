"""`pinpoint backup` and `pinpoint restore`: the stack as one file or folder.

Both commands run on the machine of the stack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinpoint.cli import output
from pinpoint.cli.exit_codes import FAILED_ITEMS
from pinpoint.cli.index import rebuild_index
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import BadRequestError, ConfigurationError
from pinpoint.records import Drift
from pinpoint.settings_file import load_settings

app = typer.Typer()


@app.command()
def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="New file that ends in .tar, or new folder.")],
    as_json: JsonOption = False,
) -> None:
    """Write the database, blobs and bundles to a file or folder while the stack runs."""
    from pinpoint.stack.backup.backup import write_backup as run

    session = _require_local_session(context, as_json=as_json)
    manifest = run(load_settings(), target, output.warn)
    if session.as_json:
        output.print_json(manifest)
        return
    output.print_line(
        f"{target}: {manifest.counts['images']} images, {manifest.blobs} blobs, "
        f"{manifest.bytes / 1e6:.1f} MB, schema {manifest.revision}, bundle {manifest.bundle}"
    )


@app.command()
def restore(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="File or folder that `pinpoint backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Restore also into a stack with data, which is lost.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the data of the stack with a backup, build the index and start the stack."""
    from pinpoint.stack.backup.restore import restore_backup as run

    session = _require_local_session(context, as_json=as_json)
    restored = run(load_settings(), path, replace=replace, on_message=output.warn)
    drift = _compare_with_index(session, rebuild=not restored.index_built)
    if session.as_json:
        output.print_json(
            {"counts": restored.counts, "drift": drift, "manifest": restored.manifest}
        )
    else:
        output.print_table(None, ("table", ">rows"), list(restored.counts.items()))
        output.print_line(
            f"restored from {restored.manifest.made_at}; {drift.checked} rows checked against the "
            f"index, drift {drift.total}"
        )
    if drift.total:
        raise typer.Exit(FAILED_ITEMS)


def _compare_with_index(session: Session, *, rebuild: bool) -> Drift:
    """Compare the restored rows with the index, without repairs."""
    from pinpoint.ingest.reconcile import reconcile_index_rows

    with session.services() as services:
        if services.repository is None:
            raise ConfigurationError("the API's services cannot compare; use those of the operator")
        if rebuild:
            rebuild_index(services)
        return reconcile_index_rows(
            repository=services.repository,
            index=services.index,
            queue=None,
            contract=services.encoder.contract.digest,
            chunk=services.settings.worker.task_batch_size,
        )


def _require_local_session(context: typer.Context, *, as_json: bool) -> Session:
    session = Session.of(context, as_json=as_json)
    if session.server is not None or session.key is not None:
        raise BadRequestError(
            "this command works on the stack itself, not over the API; run it on the machine of "
            "the stack, without --server and --key"
        )
    return session
