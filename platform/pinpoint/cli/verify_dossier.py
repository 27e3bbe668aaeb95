"""`pinpoint verify-dossier`: checks a dossier without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.exit_codes import INVALID_DOSSIER
from pinpoint.cli.option_values import check_exists
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import BadRequestError, describe_cause

if TYPE_CHECKING:
    from pinpoint.api.dossiers.verify import DossierCheck

app = typer.Typer()


@app.command("verify-dossier")
def verify_dossier_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Dossier, a ZIP file.")],
    photo: Annotated[
        list[Path],
        typer.Option(
            "--photo", help="Photo of the query; its hash must be in the dossier. Repeatable."
        ),
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check the files, checksums and document of a dossier, and the hash of its photo."""
    # Imported here, because it loads the schemas of answers.
    from pinpoint.api.dossiers.verify import verify_dossier

    session = Session.of(context, as_json=as_json)
    for path in (file, *photo):
        check_exists(path)
    try:
        check = verify_dossier(file, photo)
    except OSError as error:
        raise BadRequestError(
            f"{os.fsdecode(error.filename or file)} cannot be read: {describe_cause(error)}"
        ) from error
    if session.as_json:
        output.print_json(_to_document(file, check))
    else:
        _print_check(file, check, len(photo))
    if check.problems:
        raise typer.Exit(INVALID_DOSSIER)


def _to_document(file: Path, check: DossierCheck) -> dict[str, Any]:
    document = check.document
    return {
        "file": str(file),
        "sha256": check.sha256,
        "valid": not check.problems,
        "created_at": document and document.created_at,
        "photos": [] if document is None else [photo.sha256 for photo in document.photos],
        "problems": list(check.problems),
    }


def _print_check(file: Path, check: DossierCheck, num_photos: int) -> None:
    for problem in check.problems:
        output.print_line(f"{problem.code}: {problem.file}: {problem.message}")
    if check.problems:
        output.print_line(f"{file}: {len(check.problems)} problems")
        return
    output.print_line(f"{file}: complete and unchanged, SHA-256 {check.sha256}")
    if num_photos == 0 and check.document is not None:
        hashes = ", ".join(photo.sha256 for photo in check.document.photos)
        output.print_line(f"photo: SHA-256 {hashes} (--photo compares a file)")
