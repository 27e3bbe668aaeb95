"""`pinpoint jobs`: many photos located asynchronously."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from pinpoint.cli import output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.batch_waiting import explain_interrupt
from pinpoint.cli.exit_codes import FAILED_ITEMS
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError

app = typer.Typer(help="Locate many photos as a job.", no_args_is_help=True)

JobIdArgument = Annotated[str, typer.Argument(help="Id of the job.")]


@app.command("create")
def create(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder, a photo, or a JSONL file. Each line has `custom_id`, `upload` (a "
            "file below the folder of the JSONL file) or `url`, and `parameters`."
        ),
    ],
    parameters: Annotated[
        str | None,
        typer.Option(
            "--parameters",
            metavar="JSON",
            help="JSON object with fields of `POST /v1/locate` for all photos.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="JOB",
            help="Id of a job with an interrupted upload: only missing files are sent.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the job ends.")
    ] = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload photos as a job and start it; the server deletes each photo when it is located."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    bar, task = output.open_progress_bar("upload")
    last_seen: dict[str, Any] = {}

    def show_progress(job: dict[str, Any]) -> None:
        last_seen.update(job)
        counts = job["counts"]
        sent = counts["total"] - counts["waiting_for_upload"]
        bar.update(task, completed=sent, total=max(counts["total"], 1))

    def explain() -> list[str]:
        if not last_seen:
            return ["pinpoint: interrupted before a job was created; run the command again"]
        return [
            f"pinpoint: interrupted while uploading job {last_seen['id']}; to continue:",
            f"  pinpoint jobs create {path} --resume {last_seen['id']}",
        ]

    with session.client() as client:
        with explain_interrupt(explain), bar:
            job = client.locate_as_job(
                path,
                parameters=_read_parameters(parameters),
                job_id=resume,
                on_progress=show_progress,
            )
        if wait:
            job = _wait_for_job(client, job["id"])
    _print_job(session, job)


@app.command("list")
def list_jobs(
    context: typer.Context,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=500, help="Number of jobs per page.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        page = client.jobs(limit=page_size, cursor=cursor)
    if session.as_json:
        output.print_json(page)
        return
    _print_jobs(page["jobs"])
    if page["next"] is not None:
        (next_cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]
        output.warn(f"more: the same command with --cursor {next_cursor}")


@app.command("show")
def show(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    job_id: JobIdArgument,
    state: Annotated[
        str | None,
        typer.Option("--state", help="Show only items with this state, such as `failed`."),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Number of items per page.")
    ] = 200,
    cursor: Annotated[
        int, typer.Option("--cursor", min=0, help="Cursor that the previous page printed.")
    ] = 0,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a job and its items, with the error of each failed one."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        job = client.job(job_id)
        page = client.job_items(job_id, state=state, after=cursor, limit=page_size)
    if session.as_json:
        output.print_json({"job": job, **page})
        return
    _print_jobs([job])
    fields = ("position", "custom_id", "line_number", "state", "error_code", "error_message")
    rows = [[item[field] for field in fields] for item in page["items"]]
    columns = (">position", "custom id", ">line", "state", "error", "error message")
    output.print_table(None, columns, rows)
    if page["next"] is not None:
        output.warn(f"more: the same command with --cursor {page['next']}")


@app.command("wait")
def wait(
    context: typer.Context,
    job_id: JobIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until a job ends; Ctrl-C stops only the waiting."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        job = _wait_for_job(client, job_id)
    _print_job(session, job)
    if job["counts"]["failed"]:
        raise typer.Exit(FAILED_ITEMS)


@app.command("results")
def results(
    context: typer.Context,
    job_id: JobIdArgument,
    output_file: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File to write: GeoParquet if its name ends with `.parquet`, otherwise NDJSON.",
        ),
    ],
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save the results of a job so far."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        job = client.job(job_id)
        num_bytes = client.save_job_results(job_id, output_file)
    if session.as_json:
        output.print_json({"path": str(output_file), "bytes": num_bytes, "job": job})
    else:
        output.print_line(f"results in {output_file}: {num_bytes / 1e6:.1f} MB")
        if job["counts"]["open"]:
            output.warn(f"the job is {job['state']}; {job['counts']['open']} items are open")


@app.command("cancel")
def cancel(
    context: typer.Context,
    job_id: JobIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel the items that no worker has started; results so far are kept."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        job = client.cancel_job(job_id)
    _print_job(session, job)


@app.command("delete")
def delete(
    context: typer.Context,
    job_id: JobIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a job with its results."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        client.delete_job(job_id)
    if session.as_json:
        output.print_json({"deleted": job_id})
    else:
        output.print_line(f"deleted {job_id}")


def _read_parameters(text: str | None) -> dict[str, Any] | None:
    try:
        value = None if text is None else json.loads(text)
    except ValueError as error:
        raise BadRequestError("--parameters is not JSON") from error
    if value is not None and not isinstance(value, dict):
        raise BadRequestError("--parameters must be a JSON object")
    return value


def _wait_for_job(client: ApiClient, job_id: str) -> dict[str, Any]:
    bar, task = output.open_progress_bar("job")

    def show_progress(job: dict[str, Any]) -> None:
        counts = job["counts"]
        bar.update(task, completed=counts["total"] - counts["open"], total=max(counts["total"], 1))

    def explain() -> list[str]:
        return [
            f"pinpoint: stopped waiting; job {job_id} continues by itself",
            f"  wait again:  pinpoint jobs wait {job_id}",
            f"  show status: pinpoint jobs show {job_id}",
        ]

    with explain_interrupt(explain), bar:
        return client.wait_for_job(job_id, show_progress)


def _print_job(session: Session, job: dict[str, Any]) -> None:
    if session.as_json:
        output.print_json(job)
    else:
        _print_jobs([job])


def _print_jobs(jobs: list[dict[str, Any]]) -> None:
    states = ("completed", "failed", "canceled", "open")
    rows = [
        [
            job["id"],
            job["created_at"][:16].replace("T", " "),
            job["expires_at"][:16].replace("T", " "),
            job["state"],
            job["counts"]["total"],
            *(job["counts"][state] for state in states),
        ]
        for job in jobs
    ]
    columns = ("id", "created (UTC)", "expires (UTC)", "state", ">items")
    counts = (">completed", ">failed", ">canceled", ">open")
    output.print_table(None, (*columns, *counts), rows)
