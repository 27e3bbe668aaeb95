"""`pinpoint bundles activate` and `delete-vectors`: change the bundle of a serving gallery."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pinpoint import logs
from pinpoint.cli import output
from pinpoint.cli.batch_waiting import explain_interrupt
from pinpoint.cli.bundles import BundleArgument
from pinpoint.cli.index import rebuild_index
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import ConfigurationError, ConflictError
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.model_switch import SwitchReport


app = typer.Typer()


@app.command()
def activate(
    context: typer.Context,
    name: BundleArgument,
    allow_missing: Annotated[
        int,
        typer.Option(
            "--allow-missing",
            min=0,
            help="Maximum number of unreadable images that searches may lose.",
        ),
    ] = 0,
    images_per_second: Annotated[
        float | None,
        typer.Option(
            "--images-per-second", min=0.01, help="Maximum encoding rate in images per second."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Encode the gallery with another bundle, build a second index and switch to it."""
    session = Session.of(context, as_json=as_json)
    resumption = [
        "pinpoint: interrupted; the serving index is unchanged and encoded vectors are kept. "
        f"Continue with: pinpoint bundles activate {name}"
    ]
    with session.services() as services, explain_interrupt(lambda: resumption):
        report = switch_bundle(services, name, allow_missing, images_per_second)
    if session.as_json:
        output.print_json(report)
    else:
        _print_report(report, name)


@app.command("delete-vectors")
def delete_vectors(
    context: typer.Context, name: BundleArgument, as_json: JsonOption = False
) -> None:
    """Delete the vectors of a bundle from PostgreSQL; the index must use another bundle."""
    from pinpoint.encoder_handle import EncoderHandle

    session = Session.of(context, as_json=as_json)
    contract = EncoderHandle(load_settings(), name).contract
    with session.services() as services:
        info = services.index.info()
        if info.contract in (None, contract.digest):
            raise ConflictError(
                f"the index holds the vectors of {name}, or its contents are unknown "
                f"({info.loading or 'it is ready'}); switch with `pinpoint bundles activate` first"
            )
        if services.reembed_queue is None:
            raise ConfigurationError(
                "the API's services cannot delete vectors; use those of the operator"
            )
        num_deleted = services.reembed_queue.delete_vectors(contract.digest)
    if session.as_json:
        output.print_json({"bundle": contract.name, "vectors": num_deleted})
    else:
        output.print_line(f"{num_deleted} vectors of bundle {contract.name} deleted")


def switch_bundle(
    services: Services, name: str, allow_missing: int, images_per_s: float | None
) -> SwitchReport:
    """Encode the gallery with a bundle, build its index and switch to it.

    Args:
        services: Services of the operator.
        name: The bundle.
        allow_missing: Number of unreadable images that searches may lose.
        images_per_s: Maximum encoding rate; None does not limit it.

    Raises:
        ConfigurationError: The services are those of the API.
        ConflictError: More images are unreadable; the old index stays active.
    """
    from pinpoint.encoder_handle import EncoderHandle
    from pinpoint.model_switch import ModelSwitch
    from pinpoint.nets.bundle.bundles import resolve_bundle
    from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME

    settings = load_settings()
    # The bar shows the progress; log lines would mix with the results.
    logs.configure(settings.log.model_copy(update={"level": "warning"}))
    # The bundle is looked up by its contract below the home, as the API and the workers do it,
    # whatever bundle their settings name.
    contract_digest = EncoderHandle(settings, name).contract.digest
    home, rendition_px = settings.services.home, settings.media.rendition_px
    encoder = EncoderHandle(
        settings, resolve_bundle(contract_digest, home, rendition_px, DESCRIPTOR_NAME)
    )
    encoder.warm()
    if services.reembed_queue is None:
        raise ConfigurationError(
            "the API's services cannot change the bundle; use those of the operator"
        )
    services.ensure_index()
    bar, task = output.open_progress_bar("encoding")
    bar.update(task, total=0)
    with bar:
        switching = ModelSwitch(
            dataclasses.replace(services.ingest_components(), encoder=encoder),
            services.reembed_queue,
            images_per_s=images_per_s,
            progress=lambda completed, total: bar.update(task, completed=completed, total=total),
        )

        def build(while_waiting: Callable[[], None]) -> None:
            rebuild_index(services, contract=encoder.contract.digest, while_waiting=while_waiting)

        return switching.run(build, allow_missing=allow_missing)


def _print_report(report: SwitchReport, name: str) -> None:
    num_unreachable = sum(report.unreachable.values())
    rows = [
        ("images", report.live),
        ("already encoded", report.already),
        ("encoded now", report.reembedded),
        ("unreachable", num_unreachable),
        *((f"  {reason}", images) for reason, images in report.unreachable.items()),
        ("left for reconciliation", report.drift.total),
    ]
    output.print_table(None, ("status", ">images"), rows)
    output.print_line(f"bundle {report.bundle} is active, index build {report.build}")
    output.print_line(f"to use it for a new index: pinpoint config set bundle {name}")
