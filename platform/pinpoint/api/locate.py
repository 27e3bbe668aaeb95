"""`POST /v1/locate` and `POST /v1/similar`: questions about a photo, which is not kept."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import FormData, UploadFile

from pinpoint.api import forms, limits, problems
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.callers import needs, services
from pinpoint.api.metrics import Meters, meters
from pinpoint.api.schemas import AnswerOut, SimilarOut, shown_ids
from pinpoint.bootstrap import Services
from pinpoint.errors import BadRequest
from pinpoint.records import Answer, Caller, ImageLabel, Limits, Similar
from pinpoint.search import pipeline, pipeline_places

router = APIRouter(prefix="/v1", tags=["search"])

_CAN_ASK = needs("locate")
_PROBLEMS = problems.declared(400, 401, 403, 404, 409, 413, 415, 422, 503)


_PHOTO_RULE = BodyRule(
    lane="questions",
    most_bytes=lambda settings: settings.media.max_bytes + forms.QUESTION_FIELDS_BYTES,
    limit_name="PINPOINT_MEDIA_MAX_BYTES",
    stated_bytes=lambda settings: settings.media.max_bytes,
)


@reads_body(_PHOTO_RULE)
async def photo_form(
    request: Request, parts: Annotated[Services, Depends(services)]
) -> AsyncIterator[FormData]:
    """The form; the photo stays in memory."""
    form = await forms.read(
        request,
        max_files=1,
        fields_bytes=forms.QUESTION_FIELDS_BYTES,
        in_memory_bytes=_PHOTO_RULE.most_bytes(parts.settings),
    )
    try:
        yield form
    finally:
        await form.close()


AsCaller = Annotated[Caller, Depends(_CAN_ASK)]
Parts = Annotated[Services, Depends(services)]
Form = Annotated[FormData, Depends(photo_form)]
Count = Annotated[Meters, Depends(meters)]


@router.post(
    "/locate",
    operation_id="locate",
    summary="Where was this photo taken, and what is the evidence?",
    responses=_PROBLEMS,
    openapi_extra=forms.documented(limits.LocateForm, file="photo", many=False, required=True),
)
def locate(caller: AsCaller, parts: Parts, form: Form, count: Count) -> AnswerOut:
    """Locate one photo. The photo is not kept; only its hash is noted."""
    photo = _photo(form)
    if photo is None:
        raise BadRequest("the form has no file in the field 'photo'")
    asked = forms.fields(form, limits.LocateForm)
    data = photo.file.read()
    where = _limits(asked, caller, parts)
    if asked.over == "places":
        answer = pipeline_places.locate_by_places(
            data,
            file=photo.filename or "photo",
            limits=where,
            kind=asked.kind,
            decoder=parts.decoder,
            # No index is asked that would tell of a switch, so it is looked at first.
            encoder=parts.encoders.follow(),
            settings=parts.settings.search,
        )
    else:
        answer = parts.with_live(
            lambda encoder: pipeline.locate(
                data,
                file=photo.filename or "photo",
                limits=where,
                organization_id=caller.organization_id,
                kind=asked.kind,
                decoder=parts.decoder,
                encoder=encoder,
                index=parts.index,
                database=parts.database,
                settings=parts.settings.search,
                reranker=encoder.reranker,
            )
        )
    names = _note(parts, caller, "locate", data, answer, shown_ids(answer, asked.top))
    count.searched("locate", answer.timings_ms, point=answer.point is not None)
    return AnswerOut.of(answer, asked.top, names)


@router.post(
    "/similar",
    operation_id="similar",
    summary="Which gallery images look like this photo, or like this image?",
    responses=_PROBLEMS,
    openapi_extra=forms.documented(limits.SimilarForm, file="photo", many=False, required=False),
)
def similar(caller: AsCaller, parts: Parts, form: Form, count: Count) -> SimilarOut:
    """Nearest images to a photo, or to a gallery image, grouped by panorama or sequence."""
    photo = _photo(form)
    asked = forms.fields(form, limits.SimilarForm)
    if (photo is None) == (asked.image_id is None):
        raise BadRequest("give either a file in the field 'photo' or an image_id")
    data = None if photo is None else photo.file.read()
    where = _limits(asked, caller, parts)
    found = parts.with_live(
        lambda encoder: pipeline.similar(
            data,
            image_id=asked.image_id,
            file="photo" if photo is None else photo.filename or "photo",
            limits=where,
            organization_id=caller.organization_id,
            limit=asked.limit,
            per_group=asked.per_group,
            kind=asked.kind,
            include_self=asked.include_self,
            exclude_group=asked.exclude_group,
            decoder=parts.decoder,
            encoder=encoder,
            index=parts.index,
            database=parts.database,
            settings=parts.settings.search,
        )
    )
    shown = [hit.id for group in found.groups for hit in group.hits]
    names = _note(parts, caller, "similar", data, found, shown)
    count.searched("similar", found.timings_ms, point=False)
    return SimilarOut.of(found, names)


def _photo(form: FormData) -> UploadFile | None:
    found = forms.files(form, "photo")
    return found[0] if found else None


def _limits(where: limits.Where, caller: Caller, parts: Services) -> Limits:
    with parts.database.read(caller.organization_id) as catalogue:
        return limits.of(where, catalogue)


def _note(
    parts: Services,
    caller: Caller,
    asked: str,
    data: bytes | None,
    found: Answer | Similar,
    shown: Sequence[UUID],
) -> dict[UUID, ImageLabel]:
    """Note who asked and by which weights and index it was answered; of the photo, its hash.

    In the same transaction the names of all images are read that the answer shows.
    """
    with parts.database.write(caller.organization_id) as catalogue:
        catalogue.log_query(
            asked,
            key_id=caller.key_id,
            photo_sha256=None if data is None else hashlib.sha256(data).hexdigest(),
            bundle=found.bundle,
            index_build=found.index_build,
        )
        return catalogue.image_labels(shown)
