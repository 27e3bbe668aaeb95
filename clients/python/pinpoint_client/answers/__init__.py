"""Typed answers, generated from the OpenAPI document by `generate_answers.py`.

A model is imported when it is first used: `import pinpoint_client` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pinpoint_client.answers.administration import AreaGeometry as AreaGeometry
    from pinpoint_client.answers.administration import AuditLog as AuditLog
    from pinpoint_client.answers.administration import AuditRow as AuditRow
    from pinpoint_client.answers.administration import Deliveries as Deliveries
    from pinpoint_client.answers.administration import Delivery as Delivery
    from pinpoint_client.answers.administration import Key as Key
    from pinpoint_client.answers.administration import KeyLimits as KeyLimits
    from pinpoint_client.answers.administration import KeyLimitsIn as KeyLimitsIn
    from pinpoint_client.answers.administration import Keys as Keys
    from pinpoint_client.answers.administration import KeySecret as KeySecret
    from pinpoint_client.answers.administration import Limits as Limits
    from pinpoint_client.answers.administration import LimitUsage as LimitUsage
    from pinpoint_client.answers.administration import Organization as Organization
    from pinpoint_client.answers.administration import Organizations as Organizations
    from pinpoint_client.answers.administration import OwnLimits as OwnLimits
    from pinpoint_client.answers.administration import ProtectedArea as ProtectedArea
    from pinpoint_client.answers.administration import (
        ProtectedAreaProperties as ProtectedAreaProperties,
    )
    from pinpoint_client.answers.administration import ProtectedAreas as ProtectedAreas
    from pinpoint_client.answers.administration import Webhook as Webhook
    from pinpoint_client.answers.administration import Webhooks as Webhooks
    from pinpoint_client.answers.administration import WebhookSecret as WebhookSecret
    from pinpoint_client.answers.candidates import Candidate as Candidate
    from pinpoint_client.answers.candidates import Channel as Channel
    from pinpoint_client.answers.candidates import CredibleRegion as CredibleRegion
    from pinpoint_client.answers.candidates import Evidence as Evidence
    from pinpoint_client.answers.candidates import LatLon as LatLon
    from pinpoint_client.answers.candidates import MultiPolygon as MultiPolygon
    from pinpoint_client.answers.candidates import Name as Name
    from pinpoint_client.answers.candidates import Posterior as Posterior
    from pinpoint_client.answers.candidates import ProbabilityWithin as ProbabilityWithin
    from pinpoint_client.answers.candidates import Verification as Verification
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
    from pinpoint_client.answers.gallery import Prefix as Prefix
    from pinpoint_client.answers.gallery import Ready as Ready
    from pinpoint_client.answers.gallery import Retried as Retried
    from pinpoint_client.answers.gallery import Source as Source
    from pinpoint_client.answers.gallery import Sources as Sources
    from pinpoint_client.answers.gallery import Uploaded as Uploaded
    from pinpoint_client.answers.gallery import Urls as Urls
    from pinpoint_client.answers.jobs import Job as Job
    from pinpoint_client.answers.jobs import JobCounts as JobCounts
    from pinpoint_client.answers.jobs import JobItem as JobItem
    from pinpoint_client.answers.jobs import JobItems as JobItems
    from pinpoint_client.answers.jobs import Jobs as Jobs
    from pinpoint_client.answers.jobs import JobUpload as JobUpload
    from pinpoint_client.answers.jobs import JobUploads as JobUploads
    from pinpoint_client.answers.queries import Answer as Answer
    from pinpoint_client.answers.queries import Bundle as Bundle
    from pinpoint_client.answers.queries import C2pa as C2pa
    from pinpoint_client.answers.queries import Circle as Circle
    from pinpoint_client.answers.queries import Citation as Citation
    from pinpoint_client.answers.queries import CitedCopy as CitedCopy
    from pinpoint_client.answers.queries import Claim as Claim
    from pinpoint_client.answers.queries import ClaimArea as ClaimArea
    from pinpoint_client.answers.queries import CountryFilter as CountryFilter
    from pinpoint_client.answers.queries import CredibleDisc as CredibleDisc
    from pinpoint_client.answers.queries import Dropped as Dropped
    from pinpoint_client.answers.queries import ExplainedCandidate as ExplainedCandidate
    from pinpoint_client.answers.queries import Explanation as Explanation
    from pinpoint_client.answers.queries import Filters as Filters
    from pinpoint_client.answers.queries import Group as Group
    from pinpoint_client.answers.queries import Hit as Hit
    from pinpoint_client.answers.queries import Index as Index
    from pinpoint_client.answers.queries import Match as Match
    from pinpoint_client.answers.queries import RankedCoordinate as RankedCoordinate
    from pinpoint_client.answers.queries import Search as Search
    from pinpoint_client.answers.queries import Similar as Similar
    from pinpoint_client.answers.queries import VerificationThreshold as VerificationThreshold
    from pinpoint_client.answers.reports import QualityReport as QualityReport
    from pinpoint_client.answers.reports import QualityReports as QualityReports
    from pinpoint_client.answers.reports import QueryError as QueryError
    from pinpoint_client.answers.reports import ReliabilityBin as ReliabilityBin
    from pinpoint_client.answers.reports import ReportMetric as ReportMetric
    from pinpoint_client.answers.reports import ReportSummary as ReportSummary

_MODULES: Final = {
    "AnswerFeature": "features",
    "AnswerFeatures": "features",
    "Answer": "queries",
    "AreaGeometry": "administration",
    "AuditLog": "administration",
    "AuditRow": "administration",
    "Batch": "gallery",
    "Batches": "gallery",
    "Bundle": "queries",
    "C2pa": "queries",
    "Canceled": "gallery",
    "Candidate": "candidates",
    "CellCount": "gallery",
    "CellFeature": "features",
    "CellFeatures": "features",
    "Cell": "gallery",
    "Cells": "gallery",
    "Channel": "candidates",
    "Circle": "queries",
    "Citation": "queries",
    "CitedCopy": "queries",
    "ClaimArea": "queries",
    "Claim": "queries",
    "Component": "gallery",
    "CopyProperties": "features",
    "Correction": "gallery",
    "CountryFilter": "queries",
    "CredibleDisc": "queries",
    "CredibleRegion": "candidates",
    "Deliveries": "administration",
    "Delivery": "administration",
    "Dropped": "queries",
    "Erased": "gallery",
    "Evidence": "candidates",
    "ExplainedCandidate": "queries",
    "Explanation": "queries",
    "FeatureProperties": "features",
    "Filters": "queries",
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
    "JobCounts": "jobs",
    "JobItem": "jobs",
    "JobItems": "jobs",
    "Job": "jobs",
    "JobUpload": "jobs",
    "JobUploads": "jobs",
    "Jobs": "jobs",
    "KeptQueries": "gallery",
    "KeptQuery": "gallery",
    "KeyLimitsIn": "administration",
    "KeyLimits": "administration",
    "Key": "administration",
    "KeySecret": "administration",
    "Keys": "administration",
    "LatLon": "candidates",
    "LimitUsage": "administration",
    "Limits": "administration",
    "Live": "gallery",
    "Match": "queries",
    "MultiPolygon": "candidates",
    "Name": "candidates",
    "NearestPlace": "gallery",
    "Neighbor": "gallery",
    "NeighborResults": "gallery",
    "Neighbors": "gallery",
    "Organization": "administration",
    "Organizations": "administration",
    "OwnLimits": "administration",
    "PageLink": "features",
    "PointNeighbor": "gallery",
    "PointNeighbors": "gallery",
    "Posterior": "candidates",
    "Prefix": "gallery",
    "ProbabilityWithin": "candidates",
    "ProtectedArea": "administration",
    "ProtectedAreaProperties": "administration",
    "ProtectedAreas": "administration",
    "QualityReport": "reports",
    "QualityReports": "reports",
    "QueryError": "reports",
    "RankedCoordinate": "queries",
    "Ready": "gallery",
    "ReliabilityBin": "reports",
    "ReportMetric": "reports",
    "ReportSummary": "reports",
    "Retried": "gallery",
    "Search": "queries",
    "SimilarFeatures": "features",
    "Similar": "queries",
    "Source": "gallery",
    "Sources": "gallery",
    "Uploaded": "gallery",
    "Urls": "gallery",
    "Verification": "candidates",
    "VerificationThreshold": "queries",
    "Webhook": "administration",
    "WebhookSecret": "administration",
    "Webhooks": "administration",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
