"""Interfaces between flows and adapters.

`store`, `nets` and `media` implement them, and `bootstrap` connects them.
"""

from __future__ import annotations

from pinpoint.ports.catalog import CatalogReader, CatalogWriter, Database
from pinpoint.ports.engines import (
    BlobStore,
    Decoder,
    Encoder,
    JpegConverter,
    PointSource,
    Reranker,
    TaskQueue,
    VectorIndex,
)
from pinpoint.ports.gallery import Gallery, GalleryReader
from pinpoint.ports.gallery_pixels import GalleryPixels
from pinpoint.ports.ingest_repository import EncodePositions, IngestRepository, OriginalStore
from pinpoint.ports.job_repository import JobRepository, UrlFetcher
from pinpoint.ports.matching import FeatureCache, FeatureMatcher
from pinpoint.ports.reembed_queue import ReembedQueue
from pinpoint.ports.remote_files import BucketListings, RemoteFileSource
from pinpoint.ports.tenant_deletion import TenantDeletion
from pinpoint.ports.training_data import TrainingDataReader

__all__ = [
    "ReembedQueue",
    "BlobStore",
    "BucketListings",
    "CatalogReader",
    "CatalogWriter",
    "TenantDeletion",
    "Database",
    "Decoder",
    "EncodePositions",
    "Encoder",
    "FeatureCache",
    "FeatureMatcher",
    "Gallery",
    "GalleryPixels",
    "GalleryReader",
    "TrainingDataReader",
    "TaskQueue",
    "JpegConverter",
    "IngestRepository",
    "JobRepository",
    "OriginalStore",
    "PointSource",
    "RemoteFileSource",
    "Reranker",
    "UrlFetcher",
    "VectorIndex",
]
