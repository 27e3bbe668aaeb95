"""Builds the files of a dossier: document, layer, PDF, thumbnails and match pictures."""

from __future__ import annotations

from collections.abc import Iterator

from pinpoint.api.dossiers.archive import ANSWER_NAME, DOCUMENT_NAME, PDF_NAME, write_archive
from pinpoint.api.dossiers.content import (
    DossierContent,
    list_photo_entries,
    match_path,
    thumbnail_path,
)
from pinpoint.api.dossiers.method_texts import list_method_limits, list_missing
from pinpoint.api.dossiers.pdf_report import render_pdf
from pinpoint.api.dossiers.sun_positions import compute_sun_position
from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut
from pinpoint.api.v1.schemas.basics import LatLon
from pinpoint.api.v1.schemas.claims import C2paOut, ClaimOut
from pinpoint.api.v1.schemas.dossiers import (
    FORMAT_VERSION,
    ClaimOrigin,
    ClaimPlace,
    DossierOut,
    SunPositionOut,
)
from pinpoint.records import Point


def build_dossier(content: DossierContent) -> bytes:
    """Build the ZIP file of a dossier. The same content gives the same bytes."""
    document = make_document(content)
    images = content.images
    files = {
        DOCUMENT_NAME: (document.model_dump_json(indent=1) + "\n").encode(),
        ANSWER_NAME: (_make_layer(document).model_dump_json(indent=1) + "\n").encode(),
        PDF_NAME: render_pdf(document, images),
    }
    files |= {thumbnail_path(image_id): data for image_id, data in images.thumbnails.items()}
    files |= {match_path(image_id): data for image_id, data in images.match_pictures.items()}
    for entry, photo in zip(document.photos, content.photos, strict=True):
        if entry.path is not None:
            files[entry.path] = photo.data
    return write_archive(files)


def make_document(content: DossierContent) -> DossierOut:
    """Make the document of a dossier."""
    answer = content.answer
    return DossierOut(
        format_version=FORMAT_VERSION,
        created_at=content.created_at,
        code_version=content.code_version,
        photos=list_photo_entries(content.photos, include_photo=content.query.include_photo),
        query=content.query,
        settings=dict(content.settings),
        answer=answer,
        sun_positions=[
            position for claim in answer.claims for position in _list_sun_positions(claim, answer)
        ],
        images=content.images.list_entries(),
        missing=list_missing(answer),
        method_limits=list_method_limits(answer),
    )


def _list_sun_positions(claim: ClaimOut, answer: AnswerOut) -> Iterator[SunPositionOut]:
    """Positions of the sun at the claimed times: at the claimed place, and at the answer's point.

    Metadata and a C2PA manifest are claims of their own.
    """
    claims: tuple[tuple[ClaimOrigin, ClaimOut | C2paOut], ...] = (
        ("metadata", claim),
        ("c2pa", claim.c2pa),
    )
    for origin, stated in claims:
        places: tuple[tuple[ClaimPlace, LatLon | None], ...] = (
            ("claim", stated.point),
            ("answer", answer.point),
        )
        for place, point in places:
            if stated.captured_at is None or point is None:
                continue
            elevation_deg, azimuth_deg = compute_sun_position(
                Point(point.lat, point.lon), stated.captured_at
            )
            yield SunPositionOut(
                photo=claim.photo,
                origin=origin,
                place=place,
                lat=point.lat,
                lon=point.lon,
                time=stated.captured_at,
                time_assumed_utc=stated.time_assumed_utc,
                # Platforms differ in the last bits; claims are far less exact.
                elevation_deg=round(elevation_deg, 4),
                azimuth_deg=round(azimuth_deg, 4) % 360,
            )


def _make_layer(document: DossierOut) -> AnswerFeaturesOut:
    """Make the layer of the answer; its thumbnails are those of the dossier."""
    layer = AnswerFeaturesOut.of(document.answer, "")
    thumbnails = {entry.image_id: entry.thumbnail for entry in document.images}
    for feature in layer.features:
        image_id = feature.properties.image_id
        feature.properties.thumbnail_url = None if image_id is None else thumbnails.get(image_id)
    return layer
