"""All pictures that a config asks for, of manifests and of the catalogue, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pinpoint.errors import BadRequest
from pinpoint.ports import Gallery
from pinpoint.settings import MediaSettings
from pinpoint.training.configs import EmbedderConfig, SourceConfig
from pinpoint.training.held import HELD, held, hold
from pinpoint.training.processes import Processes
from pinpoint.training.samples import Gathered, Held, Source, read_samples

FEATURES: Final = "features"
"""Folder of the cache, in the run's."""


def gather(
    config: EmbedderConfig,
    folder: Path,
    settings: MediaSettings,
    gallery: Gallery | None,
    processes: Processes,
) -> Gathered:
    """Read the sources of a run, in the order of its config.

    Args:
        config: Every source of the catalogue has its organisation.
        folder: Of the run. Once pictures were decoded for it, the catalogue is taken from there.
        settings: Limits.
        gallery: The catalogue, where the config names it.
        processes: The first one asks the catalogue.

    Raises:
        BadRequest: There is nothing to train on, or the default kind is none of the kinds found.
        Conflict: The folder holds other sources of the catalogue.
        DatabaseUnavailable: The stack is down.
        NotFound: There is no such source.
    """
    asked, read_at = config.of_catalogue, None
    of_catalogue: Iterator[Held] = iter(())
    if asked:
        begun = (folder / FEATURES).exists() and (folder / HELD).exists()
        if processes.first and not begun:
            hold(folder, asked, gallery, settings.max_bytes)
        processes.wait()
        there, read_at = held(folder, asked)
        of_catalogue = iter(there)
    sources: list[Source | Held] = [
        Source(manifest=one.manifest, kind=one.kind)
        if isinstance(one, SourceConfig)
        else next(of_catalogue)
        for one in config.sources
    ]
    gathered = read_samples(sources, settings, resolution=config.cells)
    try:
        config.check_kinds(set(gathered.samples.kinds.tolist()))
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return replace(gathered, read_at=read_at)
