"""Interfaces between flows and adapters.

`store`, `nets` and `media` implement them, and `bootstrap` connects them.
"""

from __future__ import annotations

from pinpoint.ports.backlog import ReembedQueue
from pinpoint.ports.catalogue import CatalogueReader, CatalogueWriter, Database
from pinpoint.ports.closing import TenantDeletion
from pinpoint.ports.engines import (
    BlobStore,
    Decoder,
    Encoder,
    JobQueue,
    PointSource,
    Reranker,
    VectorIndex,
)
from pinpoint.ports.gallery import TrainingDataReader
from pinpoint.ports.ledger import EncodePositions, IngestRepository, OriginalStore

__all__ = [
    "ReembedQueue",
    "BlobStore",
    "CatalogueReader",
    "CatalogueWriter",
    "TenantDeletion",
    "Database",
    "Decoder",
    "EncodePositions",
    "Encoder",
    "TrainingDataReader",
    "JobQueue",
    "IngestRepository",
    "OriginalStore",
    "PointSource",
    "Reranker",
    "VectorIndex",
]
