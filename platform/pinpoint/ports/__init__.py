"""Interfaces between flows and adapters.

`store`, `nets` and `media` implement them, and `bootstrap` connects them.
"""

from __future__ import annotations

from pinpoint.ports.backlog import Backlog
from pinpoint.ports.catalogue import CatalogueReader, CatalogueWriter, Database
from pinpoint.ports.closing import Closing
from pinpoint.ports.engines import (
    BlobStore,
    Decoder,
    Encoder,
    JobQueue,
    PointSource,
    Reranker,
    VectorIndex,
)
from pinpoint.ports.gallery import Gallery
from pinpoint.ports.ledger import EncodePlaces, Ledger, OriginalKeeper

__all__ = [
    "Backlog",
    "BlobStore",
    "CatalogueReader",
    "CatalogueWriter",
    "Closing",
    "Database",
    "Decoder",
    "EncodePlaces",
    "Encoder",
    "Gallery",
    "JobQueue",
    "Ledger",
    "OriginalKeeper",
    "PointSource",
    "Reranker",
    "VectorIndex",
]
