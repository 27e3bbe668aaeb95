"""Typed answers, generated from the OpenAPI document by `generate_answers.py`.

A model is imported when it is first used: `import pinpoint_client` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pinpoint_client.answers.features import AnswerFeature as AnswerFeature
    from pinpoint_client.answers.features import AnswerFeatures as AnswerFeatures
    from pinpoint_client.answers.features import CellFeature as CellFeature
    from pinpoint_client.answers.features import CellFeatures as CellFeatures
    from pinpoint_client.answers.features import CopyProperties as CopyProperties
    from pinpoint_client.answers.features import FeatureProperties as FeatureProperties
    from pinpoint_client.answers.features import ImageFeature as ImageFeature
    from pinpoint_client.answers.features import ImageFeatures as ImageFeatures
    from pinpoint_client.answers.features import PageLink as PageLink
    from pinpoint_client.answers.features import SimilarFeatures as SimilarFeatures
    from pinpoint_client.answers.gallery import Batch as Batch
    from pinpoint_client.answers.gallery import Batches as Batches
    from pinpoint_client.answers.gallery import Canceled as Canceled
    from pinpoint_client.answers.gallery import Cell as Cell
    from pinpoint_client.answers.gallery import CellCount as CellCount
    from pinpoint_client.answers.gallery import Cells as Cells
    from pinpoint_client.answers.gallery import Component as Component
    from pinpoint_client.answers.gallery import Correction as Correction
    from pinpoint_client.answers.gallery import Erased as Erased
    from pinpoint_client.answers.gallery import GeoPoint as GeoPoint
    from pinpoint_client.answers.gallery import Image as Image
    from pinpoint_client.answers.gallery import ImageMetadata as ImageMetadata
    from pinpoint_client.answers.gallery import Images as Images
    from pinpoint_client.answers.gallery import Item as Item
    from pinpoint_client.answers.gallery import Items as Items
    from pinpoint_client.answers.gallery import KeptQueries as KeptQueries
    from pinpoint_client.answers.gallery import KeptQuery as KeptQuery
    from pinpoint_client.answers.gallery import Live as Live
    from pinpoint_client.answers.gallery import NearestPlace as NearestPlace
    from pinpoint_client.answers.gallery import Neighbor as Neighbor
    from pinpoint_client.answers.gallery import NeighborResults as NeighborResults
    from pinpoint_client.answers.gallery import Neighbors as Neighbors
    from pinpoint_client.answers.gallery import PointNeighbor as PointNeighbor
    from pinpoint_client.answers.gallery import PointNeighbors as PointNeighbors
    from pinpoint_client.answers.gallery import Ready as Ready
    from pinpoint_client.answers.gallery import Retried as Retried
    from pinpoint_client.answers.gallery import Source as Source
    from pinpoint_client.answers.gallery import Sources as Sources
    from pinpoint_client.answers.gallery import Uploaded as Uploaded
    from pinpoint_client.answers.queries import Answer as Answer
    from pinpoint_client.answers.queries import Bundle as Bundle
    from pinpoint_client.answers.queries import Candidate as Candidate
    from pinpoint_client.answers.queries import Channel as Channel
    from pinpoint_client.answers.queries import Citation as Citation
    from pinpoint_client.answers.queries import CitedCopy as CitedCopy
    from pinpoint_client.answers.queries import CredibleDisc as CredibleDisc
    from pinpoint_client.answers.queries import CredibleRegion as CredibleRegion
    from pinpoint_client.answers.queries import Evidence as Evidence
    from pinpoint_client.answers.queries import Group as Group
    from pinpoint_client.answers.queries import Hit as Hit
    from pinpoint_client.answers.queries import Index as Index
    from pinpoint_client.answers.queries import LatLon as LatLon
    from pinpoint_client.answers.queries import Match as Match
    from pinpoint_client.answers.queries import MultiPolygon as MultiPolygon
    from pinpoint_client.answers.queries import Name as Name
    from pinpoint_client.answers.queries import Posterior as Posterior
    from pinpoint_client.answers.queries import ProbabilityWithin as ProbabilityWithin
    from pinpoint_client.answers.queries import RankedCoordinate as RankedCoordinate
    from pinpoint_client.answers.queries import Similar as Similar
    from pinpoint_client.answers.queries import Verification as Verification
    from pinpoint_client.answers.queries import VerificationThreshold as VerificationThreshold

_MODULES: Final = {
    "AnswerFeature": "features",
    "AnswerFeatures": "features",
    "Answer": "queries",
    "Batch": "gallery",
    "Batches": "gallery",
    "Bundle": "queries",
    "Canceled": "gallery",
    "Candidate": "queries",
    "CellCount": "gallery",
    "CellFeature": "features",
    "CellFeatures": "features",
    "Cell": "gallery",
    "Cells": "gallery",
    "Channel": "queries",
    "Citation": "queries",
    "CitedCopy": "queries",
    "Component": "gallery",
    "CopyProperties": "features",
    "Correction": "gallery",
    "CredibleDisc": "queries",
    "CredibleRegion": "queries",
    "Erased": "gallery",
    "Evidence": "queries",
    "FeatureProperties": "features",
    "GeoPoint": "gallery",
    "Group": "queries",
    "Hit": "queries",
    "ImageFeature": "features",
    "ImageFeatures": "features",
    "ImageMetadata": "gallery",
    "Image": "gallery",
    "Images": "gallery",
    "Index": "queries",
    "Item": "gallery",
    "Items": "gallery",
    "KeptQueries": "gallery",
    "KeptQuery": "gallery",
    "LatLon": "queries",
    "Live": "gallery",
    "Match": "queries",
    "MultiPolygon": "queries",
    "Name": "queries",
    "NearestPlace": "gallery",
    "Neighbor": "gallery",
    "NeighborResults": "gallery",
    "Neighbors": "gallery",
    "PageLink": "features",
    "PointNeighbor": "gallery",
    "PointNeighbors": "gallery",
    "Posterior": "queries",
    "ProbabilityWithin": "queries",
    "RankedCoordinate": "queries",
    "Ready": "gallery",
    "Retried": "gallery",
    "SimilarFeatures": "features",
    "Similar": "queries",
    "Source": "gallery",
    "Sources": "gallery",
    "Uploaded": "gallery",
    "Verification": "queries",
    "VerificationThreshold": "queries",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
