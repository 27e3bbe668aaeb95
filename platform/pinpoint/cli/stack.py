"""`pinpoint up`, `down`, `status`, `destroy` and `demo`: the embedded stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pinpoint import homes
from pinpoint.cli import output
from pinpoint.cli.exit_codes import STACK_NOT_UP
from pinpoint.cli.option_values import check_exists, check_kinds
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.records import SourceKind
    from pinpoint.stack.destroy import DestroyPlan
    from pinpoint.stack.supervisor.lifecycle import StackStatus

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of the stack; the default is PINPOINT_HOME, or a home in this or a parent "
        "folder.",
        show_default=False,
    ),
]


app = typer.Typer()


@app.command()
def up(context: typer.Context, as_json: JsonOption = False) -> None:
    """Start the embedded stack, unless it is already running."""
    from pinpoint.stack.supervisor import lifecycle

    session, settings = Session.of(context, as_json=as_json), load_settings()
    home = settings.services.home
    if homes.is_home(home) and home.parent in homes.current_folder().parents:
        output.warn(f"using the home of a folder above: {home}")
    stack_status = lifecycle.start_stack(settings, output.warn)
    _print_status(session, stack_status)
    if not session.as_json and stack_status.api_url is not None:
        # Not part of --json, which may end up in logs: anyone with the token can sign in.
        _show_access(settings, stack_status.api_url)


@app.command()
def down(context: typer.Context, as_json: JsonOption = False) -> None:
    """Stop the embedded stack; its data is kept."""
    from pinpoint.stack.supervisor import lifecycle
    from pinpoint.stack.supervisor.running import missing_stack

    session, settings = Session.of(context, as_json=as_json), load_settings()
    if not homes.is_home(settings.services.home):
        output.warn(f"pinpoint: {missing_stack(settings.services.home).message}")
    _print_status(session, lifecycle.stop_stack(settings, output.warn))


@app.command()
def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show the state, contents and work of the stack; the exit code is 0 if it is up, else 3."""
    from pinpoint.cli import overview, status
    from pinpoint.stack.sign_in_urls import keyless_warning
    from pinpoint.stack.supervisor import lifecycle
    from pinpoint.stack.supervisor.running import missing_stack

    session, settings = Session.of(context, as_json=as_json), load_settings()
    stack_status = lifecycle.stack_status(settings)
    work = (
        None
        if stack_status.state == "down" and not stack_status.external
        else status.collect_status(settings)
    )
    sandbox = status.describe_sandbox_state(settings)
    home_overview = overview.read_overview(settings)
    if session.as_json:
        work_shown = None if work is None else status.status_to_dict(work)
        document = {
            **output.to_json_value(stack_status),
            **overview.overview_to_dict(home_overview),
            "work": work_shown,
        }
        output.print_json({**document, "decoder_sandbox": sandbox})
    else:
        _print_status(session, stack_status)
        overview.show_orphans(stack_status)
        if homes.is_home(settings.services.home):
            overview.show_overview(home_overview, work)
        output.print_line(f"decoder sandbox: {sandbox['summary']}")
        if work is not None:
            status.show_status(work)
        if stack_status.state == "down":
            output.warn(f"pinpoint: {missing_stack(settings.services.home).message}")
    warning = keyless_warning(settings)
    if warning is not None:
        output.warn(f"pinpoint: {warning}")
    if stack_status.state != "up":
        raise typer.Exit(STACK_NOT_UP)


@app.command()
def destroy(
    context: typer.Context,
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without confirmation.")] = False,
    keep_bundles: Annotated[
        bool,
        typer.Option(
            "--keep-bundles", help="Keep the folder of bundles, including trained bundles."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a stack permanently: its processes, database, index, copies of photos and logs."""
    from pinpoint.cli.overview import format_bytes
    from pinpoint.stack.destroy import destroy_home, plan_destroy

    session = Session.of(context, as_json=as_json)
    settings = load_settings(None if home is None else home.resolve())
    plan = plan_destroy(settings, keep_bundles=keep_bundles)
    if not session.as_json:
        _show_plan(plan)
    if not yes:
        _confirm_destroy(plan)
    destroy_home(settings, plan, output.warn)
    if session.as_json:
        output.print_json({"home": plan.home, "bytes": plan.bytes, "kept": plan.kept})
    else:
        output.print_line(f"removed {plan.home} ({format_bytes(plan.bytes)})")


@app.command()
def demo(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos",
            help="Folder of geotagged photos, or with a manifest: some are held out and located "
            "among the others. Default: a synthetic planet.",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option("--queries", min=1, max=500, help="Number of photos to locate.")
    ] = 8,
    source_kind: Annotated[
        str,
        typer.Option(
            "--source-kind", metavar="KIND", help="Kind of the photos, `photo` or `street`."
        ),
    ] = "photo",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the map and each match picture.")
    ] = Path("demo-out"),
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Folder of the demo's stack; the default is `.pinpoint-demo` next to `.pinpoint`, "
            "with --photos `.pinpoint-photos-demo`.",
            show_default=False,
        ),
    ] = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a separate stack, ingest a small gallery and locate unseen photos."""
    from pinpoint.cli.demo import demo_settings, photo_demo_settings, run_demo
    from pinpoint.cli.demo_photos import run_photo_demo

    session = Session.of(context, org=org, as_json=as_json)
    home = None if home is None else home.resolve()
    if photos is None:
        run_demo(
            demo_settings(home),
            as_json=session.as_json,
            organization=session.org,
            queries=queries,
            out=out,
        )
        return
    check_exists(photos)
    check_kinds("--source-kind", [source_kind])
    run_photo_demo(
        photos,
        photo_demo_settings(home),
        as_json=session.as_json,
        organization=session.org,
        queries=queries,
        source_kind=cast("SourceKind", source_kind),
        out=out,
    )


def _print_status(session: Session, stack_status: StackStatus) -> None:
    if session.as_json:
        output.print_json(stack_status)
        return
    url = stack_status.api_url if stack_status.api_url and stack_status.state != "down" else ""
    output.print_line(
        "  ".join(word for word in (stack_status.state, url, f"home {stack_status.home}") if word)
    )
    if stack_status.processes:
        rows = [
            (process.name, process.state, process.pid, process.restarts)
            for process in stack_status.processes
        ]
        output.print_table(None, ("process", "state", ">pid", ">restarts"), rows)
    if stack_status.external:
        output.print_line(f"external services: {', '.join(stack_status.external)}")


def _show_access(settings: Settings, api_url: str) -> None:
    """Print how a browser and other programs sign in, and warn about access without a key."""
    from pinpoint.stack.paths import StackPaths
    from pinpoint.stack.sign_in_urls import TOKEN_TTL_S, keyless_warning, make_sign_in_url

    url = make_sign_in_url(StackPaths(settings.services.home), api_url)
    output.print_line("")
    output.print_line(
        f"sign in with a browser on this machine, once, within {TOKEN_TTL_S / 60:.0f} min: {url}"
    )
    output.print_line("print the key for curl and other programs: pinpoint key")
    warning = keyless_warning(settings)
    if warning is not None:
        output.warn(f"pinpoint: {warning}")


def _show_plan(plan: DestroyPlan) -> None:
    from pinpoint.cli.overview import format_bytes

    output.print_line(f"this removes the stack of {plan.home} with all its data:")
    rows = [
        (component.component, format_bytes(component.bytes), component.path)
        for component in plan.components
    ]
    output.print_table(
        None, ("component", ">size", "folder"), [*rows, ("sum", format_bytes(plan.bytes), "")]
    )
    for folder in plan.kept:
        output.print_line(f"kept: {folder}")
    if plan.external:
        output.print_line(
            f"not removed: {', '.join(plan.external)}; these services may contain data of this "
            "stack"
        )
    output.print_line("photos that were registered in place are not removed")


def _confirm_destroy(plan: DestroyPlan) -> None:
    """Ask the user to type the name of the home.

    Raises:
        BadRequestError: There is no terminal, or another name was typed; no data was removed.
    """
    home_name = Path(plan.home).name
    if not sys.stdin.isatty():
        raise BadRequestError(
            "nothing was removed: the confirmation needs a terminal; repeat the command with --yes"
        )
    typed = typer.prompt(
        f"this cannot be undone; type {home_name} to continue", default="", err=True
    )
    if typed.strip() != home_name:
        raise BadRequestError("nothing was removed: the name does not match")
