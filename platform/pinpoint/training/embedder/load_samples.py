"""Loads all images of a config, from manifests and from the catalog, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pinpoint.errors import BadRequestError
from pinpoint.ports import TrainingDataReader
from pinpoint.settings import MediaSettings
from pinpoint.training.core.configs import EmbedderConfig, ManifestSourceConfig
from pinpoint.training.core.distributed import DistributedContext
from pinpoint.training.core.samples import (
    LoadedSamples,
    ManifestSource,
    SnapshotSource,
    read_samples,
)
from pinpoint.training.embedder.catalog_snapshot import SNAPSHOT_FILE, read_snapshot, write_snapshot

FEATURES: Final = "features"
"""Folder of the cache, in the run's folder."""


def load_samples(
    config: EmbedderConfig,
    folder: Path,
    settings: MediaSettings,
    gallery: TrainingDataReader | None,
    processes: DistributedContext,
) -> LoadedSamples:
    """Read the sources of a run, in the order of its config.

    Args:
        config: Configuration; every source of the catalog has an organization.
        folder: Folder of the run. After its images were decoded, its catalog snapshot is used.
        settings: Limits.
        gallery: The catalog, if the config names it.
        processes: The first process reads the catalog.

    Raises:
        BadRequestError: There is no training data, or no image has the default kind.
        ConflictError: The folder holds other sources of the catalog.
        DatabaseUnavailableError: The stack is down.
        NotFoundError: There is no such source.
    """
    catalog_sources, read_at = config.catalog_sources, None
    snapshots: Iterator[SnapshotSource] = iter(())
    if catalog_sources:
        has_snapshot = (folder / FEATURES).exists() and (folder / SNAPSHOT_FILE).exists()
        if processes.is_rank0 and not has_snapshot:
            write_snapshot(folder, catalog_sources, gallery, settings.max_bytes)
        processes.barrier()
        snapshot_list, read_at = read_snapshot(folder, catalog_sources)
        snapshots = iter(snapshot_list)
    sources: list[ManifestSource | SnapshotSource] = [
        ManifestSource(manifest=source.manifest, kind=source.kind)
        if isinstance(source, ManifestSourceConfig)
        else next(snapshots)
        for source in config.sources
    ]
    gathered = read_samples(sources, settings, geocell_resolution=config.geocell_resolution)
    try:
        config.check_kinds(set(gathered.samples.kinds.tolist()))
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    return replace(gathered, read_at=read_at)
