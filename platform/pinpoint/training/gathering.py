"""Loads all images of a config, from manifests and from the catalog, as one table."""

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
"""Folder of the cache, in the run's folder."""


def gather(
    config: EmbedderConfig,
    folder: Path,
    settings: MediaSettings,
    gallery: Gallery | None,
    processes: Processes,
) -> Gathered:
    """Read the sources of a run, in the order of its config.

    Args:
        config: Configuration; every source of the catalog has an organization.
        folder: Folder of the run. After its images were decoded, its catalog snapshot is used.
        settings: Limits.
        gallery: The catalog, if the config names it.
        processes: The first process reads the catalog.

    Raises:
        BadRequest: There is no training data, or no image has the default kind.
        Conflict: The folder holds other sources of the catalog.
        DatabaseUnavailable: The stack is down.
        NotFound: There is no such source.
    """
    catalog_sources, read_at = config.of_catalogue, None
    snapshots: Iterator[Held] = iter(())
    if catalog_sources:
        has_snapshot = (folder / FEATURES).exists() and (folder / HELD).exists()
        if processes.first and not has_snapshot:
            hold(folder, catalog_sources, gallery, settings.max_bytes)
        processes.wait()
        snapshot_list, read_at = held(folder, catalog_sources)
        snapshots = iter(snapshot_list)
    sources: list[Source | Held] = [
        Source(manifest=source.manifest, kind=source.kind)
        if isinstance(source, SourceConfig)
        else next(snapshots)
        for source in config.sources
    ]
    gathered = read_samples(sources, settings, resolution=config.cells)
    try:
        config.check_kinds(set(gathered.samples.kinds.tolist()))
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return replace(gathered, read_at=read_at)
