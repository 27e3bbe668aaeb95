"""Contents of a stack for `pinpoint status`: bundle, images, disk use, orphaned processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pinpoint.cli import output
from pinpoint.errors import BadBundleError
from pinpoint.homes import is_home
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.cli.status import StatusReport
    from pinpoint.stack.disk_usage import ComponentSize
    from pinpoint.stack.supervisor.lifecycle import StackStatus

_TIME_LIMIT_S: Final = 0.8
"""Time limit for measuring disk use, so that `status` is fast even with millions of blobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Contents of a home.

    Args:
        bundle: Bundle of the index; None if there is no index yet, or its bundle is unknown.
        next_bundle: Bundle of a new index.
        disk: Disk use of each component of the home.
    """

    bundle: str | None
    next_bundle: str
    disk: tuple[ComponentSize, ...]

    @property
    def disk_bytes(self) -> int:
        """Sum over all components, in bytes."""
        return sum(component.bytes for component in self.disk)


def read_overview(settings: Settings) -> Overview:
    """Read the bundle and disk use from the files of the home; needs no running stack."""
    from pinpoint.stack.disk_usage import measure_home
    from pinpoint.stack.paths import StackPaths

    paths = StackPaths(settings.services.home)
    return Overview(
        bundle=_name_bundle(settings, paths.live_contract()),
        next_bundle=settings.encoder.bundle,
        disk=measure_home(paths, _TIME_LIMIT_S) if is_home(paths.home) else (),
    )


def overview_to_dict(overview: Overview) -> dict[str, Any]:
    """Convert an overview to plain values."""
    return {
        "bundle": {"index": overview.bundle, "new_index": overview.next_bundle},
        "disk": {"bytes": overview.disk_bytes, "components": overview.disk},
    }


def show_overview(overview: Overview, work: StatusReport | None) -> None:
    """Print an overview for people."""
    no_index_text = f"none yet; a new index uses {overview.next_bundle}"
    rows = [("bundle", overview.bundle or no_index_text)]
    if work is not None and work.images is not None:
        rows.append(("images", _describe_images(work)))
    if overview.disk:
        rows.append(("disk", describe_disk(overview.disk)))
    output.print_line("")
    output.print_table(None, ("home", "contents"), rows)


def show_orphans(status: StackStatus) -> None:
    """Print the processes without a supervisor and the command that ends them."""
    if not status.orphans:
        return
    processes = ", ".join(
        f"{process.name or 'process'} ({process.pid})" for process in status.orphans
    )
    output.print_line("")
    output.print_line(f"these processes run without their supervisor: {processes}")
    output.print_line("stop them with `pinpoint down`, then start the stack with `pinpoint up`")


def describe_disk(components: tuple[ComponentSize, ...]) -> str:
    """Format disk use: `1.2 GB: postgres 0.9 GB, blobs 300 MB`; `more than` if incomplete."""
    total = sum(component.bytes for component in components)
    prefix = "" if all(component.whole for component in components) else "more than "
    sizes = [
        f"{component.component} {format_bytes(component.bytes)}"
        for component in components
        if component.bytes
    ]
    return f"{prefix}{format_bytes(total)}: {', '.join(sizes)}" if sizes else format_bytes(total)


def format_bytes(count: int) -> str:
    """Format a size with its decimal unit: `940 B`, `12.3 kB`, `4.1 GB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"


def _describe_images(work: StatusReport) -> str:
    counts = work.images or []
    total = sum(count.images for count in counts)
    organizations = {count.organization for count in counts}
    labels = [
        f"{count.images:,} {count.source_kind}"
        + (f" of {count.organization}" * (len(organizations) > 1))
        for count in counts
    ]
    return f"{total:,} indexed: {', '.join(labels)}" if labels else "none indexed"


def _name_bundle(settings: Settings, contract: str | None) -> str | None:
    from pinpoint.nets.bundle.bundles import resolve_bundle

    if contract is None:
        return None
    home, rendition_px = settings.services.home, settings.media.rendition_px
    try:
        return resolve_bundle(contract, home, rendition_px, settings.encoder.bundle).rsplit("/", 1)[
            -1
        ]
    except BadBundleError:
        return f"not found in this home (contract {contract[:16]})"
