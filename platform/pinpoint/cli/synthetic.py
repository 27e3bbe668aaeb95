"""`pinpoint synthetic`: creates a synthetic planet on disk, for tests and benchmarks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, Session

if TYPE_CHECKING:
    from pinpoint.synthetic.dataset import Planet

app = typer.Typer(
    help="Create a synthetic planet for tests and benchmarks. It is not the Earth.",
    no_args_is_help=True,
)

SYNTHETIC_NOTE: Final = "The planet is synthetic: figures on it do not apply to the Earth."


@app.callback()
def _keep_group() -> None:
    """Without a callback typer would make the only command the group itself."""


@app.command()
def create(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="New or empty folder, or the folder of an interrupted run.")
    ],
    preset: Annotated[
        str,
        typer.Option("--preset", help="Size of the planet: `tiny`, `demo`, `small` or `bench`."),
    ] = "tiny",
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Seed of the planet; equal seeds create equal files."),
    ] = 7,
    as_json: JsonOption = False,
) -> None:
    """Create a planet: galleries with manifests, and unseen queries with ground truth."""
    from pinpoint.synthetic.dataset import make_planet

    session = Session.of(context, as_json=as_json)
    bar, task = output.open_progress_bar(f"creating planet {seed}")
    with bar:
        planet = make_planet(
            folder,
            preset=preset,
            seed=seed,
            on_progress=lambda completed, total: bar.update(task, completed=completed, total=total),
        )
    commands = _next_commands(planet)
    if session.as_json:
        output.print_json({**_to_dict(planet), "note": SYNTHETIC_NOTE, "try": commands})
        return
    output.print_line(f"planet {preset} of seed {seed} ({planet.digest}) in {folder}")
    output.print_line(f"{planet.gallery} gallery images in {len(planet.manifests())} sources")
    output.print_line(f"{len(planet.queries)} unseen photos; ground truth in {planet.labels}")
    output.print_line(SYNTHETIC_NOTE)
    output.print_line("")
    output.print_line("next steps:")
    for line in commands:
        output.print_line(f"  {line}")


def _to_dict(planet: Planet) -> dict[str, Any]:
    return {
        "folder": str(planet.folder),
        "preset": planet.preset.name,
        "seed": planet.seed,
        "digest": planet.digest,
        "gallery": planet.gallery,
        "queries": len(planet.queries),
        "sources": sorted(planet.manifests()),
    }


def _next_commands(planet: Planet) -> list[str]:
    """Commands that ingest the test gallery and evaluate on it."""
    lines = [
        f"pinpoint ingest {shlex.quote(str(manifest))} --source {name}"
        f" --source-kind {name.rsplit('-', 1)[1]} --wait"
        for name, manifest in planet.manifests().items()
        if name.startswith("test-")
    ]
    return [*lines, f"pinpoint evaluate synthetic --images {shlex.quote(str(planet.folder))}"]
