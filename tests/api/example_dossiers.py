"""Dossiers of an answer with every part, for tests without servers."""

from __future__ import annotations

import dataclasses
import functools
from datetime import UTC, datetime
from io import BytesIO
from uuid import UUID

import numpy as np
from PIL import Image

from api import example_answers
from pinpoint.api.dossiers.content import DossierContent, DossierImages
from pinpoint.api.v1.schemas.answer import AnswerOut, list_image_ids
from pinpoint.api.v1.schemas.dossiers import DossierQueryOut
from pinpoint.api.v1.schemas.explanation import ExplanationOut
from pinpoint.records import (
    CalibratedResult,
    CaptureClaim,
    ChannelScore,
    CitedCopy,
    ComparedClaim,
    GeometricMatch,
    ImageLabel,
    ImageMatch,
    Point,
    Verification,
    VerificationThreshold,
)
from pinpoint.search.context import QueryPhoto
from pinpoint.search.search_trace import DroppedHit, SearchTrace
from pinpoint.settings import SearchSettings

CREATED_AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
HOSTILE = "<script>\u202e\x07 שלום سلام 漢字 \U0001f600" + "x" * 400
PHOTO = b"\xff\xd8\xff bytes of a photo"


def picture(kind="JPEG", size=(64, 48), color=(90, 140, 190)):
    out = BytesIO()
    Image.new("RGB", size, color).save(out, format=kind)
    return out.getvalue()


@functools.cache
def located_answer():
    """An answer with names that are hostile, a claim, a match, and dropped images."""
    answer = example_answers.answer()
    cited = dataclasses.replace(answer.citations[0], file_name=HOSTILE, attribution=HOSTILE)
    copy = CitedCopy(
        image_id=UUID(int=7), source_id=UUID(int=8), source="twin", file_name="b.jpg",
        source_kind="street", license=None, attribution=HOSTILE,
    )  # fmt: skip
    match = ImageMatch(
        verification=Verification(
            inliers=31, spread=0.25, verified=True, false_match_rate=0.001, status="matched"
        ),
        match=GeometricMatch(
            inliers=31, spread=0.25, model="homography",
            query_points=np.ones((31, 2), np.float32), image_points=np.ones((31, 2), np.float32),
        ),
        query_size_px=(64, 48), image_size_px=(64, 48),
    )  # fmt: skip
    claim = ComparedClaim(
        photo=0,
        claim=CaptureClaim(
            point=Point(48.851, 2.351), position_source="exif", heading_deg=12.0,
            captured_at=datetime(2025, 6, 21, 10, 0, tzinfo=UTC), time_source="exif",
            time_assumed_utc=True,
        ),
        distance_m=133.0, inside_discs=(False, False), agrees=True,
    )  # fmt: skip
    return dataclasses.replace(
        answer,
        citations=(dataclasses.replace(cited, copies=(copy,)),),
        claims=(claim,),
        matches={UUID(int=0): match},
        verification_threshold=VerificationThreshold(),
        timings_ms={},
    )  # fmt: skip


def make_content(answer=None, *, include_photo=False, created_at=CREATED_AT):
    """Content of a dossier with two thumbnails and, with the photo, a match picture."""
    answer = located_answer() if answer is None else answer
    trace = SearchTrace(
        num_hits={"image": 4},
        num_dropped=1,
        dropped=[
            DroppedHit(
                id=UUID(int=9), source_kind="photo", point=Point(1.0, 2.0), reason="redundant",
                kept_id=UUID(int=0), channels={"image": ChannelScore(score=0.4, rank=3)},
            )
        ],
    )  # fmt: skip
    labels = {
        image_id: ImageLabel(
            file_name=f"{image_id.int}.jpg", source="s", license="CC0", attribution=HOSTILE,
            point=Point(48.85, 2.35),
        )
        for image_id in list_image_ids(answer, 10)
    }  # fmt: skip
    settings = SearchSettings()
    images = DossierImages(
        thumbnails={UUID(int=0): picture(), UUID(int=1): picture(size=(20, 90))},
        thumbnail_omissions={UUID(int=2): "not_permitted"},
        match_pictures={UUID(int=0): picture("PNG", (900, 420))} if include_photo else {},
        match_omissions={} if include_photo else {UUID(int=0): "photo_not_included"},
    )
    if answer.point is None:
        images = DossierImages()
    return DossierContent(
        created_at=created_at,
        code_version="0.1.0",
        answer=AnswerOut.of(
            answer,
            10,
            labels,
            with_matches=True,
            explanation=ExplanationOut.of(answer, trace, 10, settings),
        ),
        query=DossierQueryOut(
            query_kind=None, top=10, search_space="gallery", verify=8, include_photo=include_photo
        ),
        photos=[QueryPhoto(data=PHOTO, file="folder/\x00\ud800" + HOSTILE)],
        settings={"candidates": 48, "optimize_for_radius_km": None},
        images=images,
    )


def abstaining_answer():
    return dataclasses.replace(
        example_answers.answer(), point=None, credible_discs=(), ranked=(), citations=(),
        num_candidates=0, calibrated_result=CalibratedResult(abstention_reason="no_candidates"),
        timings_ms={},
    )  # fmt: skip
