"""Sections of the PDF of a dossier with images: evidence, match pictures, sketch of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from pinpoint.api.dossiers.content import DossierImages
from pinpoint.api.dossiers.pdf_page import ReportPdf
from pinpoint.api.dossiers.pdf_values import format_lat_lon, format_match, shorten_text
from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.api.v1.schemas.basics import NearestPlaceOut
from pinpoint.api.v1.schemas.candidates import CitationOut
from pinpoint.api.v1.schemas.dossiers import DossierImageOut, DossierOut
from pinpoint.geo.lengths import format_length

_MAX_ENTRIES: Final = 60
"""Cited images in the PDF; dossier.json has all of them."""
_MAX_COPIES: Final = 5
"""Copies of a cited image in the PDF."""
_OMISSION_TEXTS: Final = {
    "not_permitted": "not shown: its source does not permit it",
    "no_read_scope": "not shown: the key lacks the scope read",
    "photo_not_included": "not shown without the photo",
    "limit": "not shown: limit of the dossier",
    "unavailable": "not available any more",
}


def add_evidence(pdf: ReportPdf, document: DossierOut, images: DossierImages) -> None:
    """Add the cited images with thumbnails, licenses and attributions."""
    pdf.add_heading("Evidence", min_space_mm=45)
    citations = [citation for cited in document.answer.citations.values() for citation in cited]
    if not citations:
        pdf.add_text("The answer cites no image.")
        return
    entries = {entry.image_id: entry for entry in document.images}
    pdf.add_text(
        "Images of the gallery that support the point. Their rights belong to those named; a "
        "dossier does not change a license.",
        muted=True,
    )
    for number, citation in enumerate(citations[:_MAX_ENTRIES], start=1):
        pdf.add_image_entry(
            images.thumbnails.get(citation.image_id),
            _describe_omission(entries.get(citation.image_id)),
            list(_describe_citation(number, citation)),
        )
    if len(citations) > _MAX_ENTRIES:
        pdf.add_text(f"{len(citations) - _MAX_ENTRIES} more are in dossier.json.", muted=True)


def add_matches(pdf: ReportPdf, document: DossierOut, images: DossierImages) -> None:
    """Add the match pictures, or the number of inliers of each compared image."""
    matches = document.answer.matches or []
    pdf.add_heading("Matches by local features")
    if not matches:
        pdf.add_text("No image was compared with the photo.")
        return
    names = _list_names(document.answer)
    entries = {entry.image_id: entry for entry in document.images}
    rows = []
    for match in matches:
        entry = entries.get(match.image_id)
        omission = None if entry is None else entry.match_picture_omission
        path = None if entry is None else entry.match_picture
        shown = path or (_OMISSION_TEXTS[omission] if omission else "")
        rows.append(
            [
                names.get(match.image_id) or str(match.image_id),
                str(match.photo),
                str(len(match.query_points)),
                match.model or "none",
                shown,
            ]
        )
    columns = (
        ("image", 4.0), (">photo", 1.0), (">inliers", 1.2), ("geometry", 1.8),
        ("match picture", 6.0),
    )  # fmt: skip
    pdf.add_table(columns, rows)
    for match in matches:
        png = images.match_pictures.get(match.image_id)
        if png is not None:
            name = names.get(match.image_id) or str(match.image_id)
            pdf.add_wide_image(png, f"Match picture of the photo and {name}")


def _describe_omission(entry: DossierImageOut | None) -> str:
    if entry is None or entry.thumbnail_omission is None:
        return _OMISSION_TEXTS["unavailable"]
    return _OMISSION_TEXTS[entry.thumbnail_omission]


def _describe_citation(number: int, citation: CitationOut) -> Iterator[str]:
    """Lines of a cited image: name, rights, relation to the answer, place."""
    yield f"{number}. {shorten_text(citation.file_name)}"
    yield (
        f"Source {shorten_text(citation.source)}. "
        + _describe_rights(citation.license, citation.attribution)
    )
    match = format_match(citation.verification)
    yield (
        f"{citation.role}, {citation.source_kind}, {format_length(citation.distance_m)} from the "
        f"point, similarity {citation.similarity:.3f}" + (f", inliers {match}" if match else "")
    )
    yield (
        f"{format_lat_lon(citation.lat, citation.lon)}, {_describe_place(citation.nearest_place)}"
        f"; image {citation.image_id}"
    )
    for copy in citation.copies[:_MAX_COPIES]:
        rights = _describe_rights(copy.license, copy.attribution)
        yield f"Same bytes in {shorten_text(copy.source)}. {rights}"
    if len(citation.copies) > _MAX_COPIES:
        yield f"{len(citation.copies) - _MAX_COPIES} more copies are in dossier.json."


def _describe_rights(license: str | None, attribution: str | None) -> str:
    stated = [shorten_text(text or "none stated", 200) for text in (license, attribution)]
    return f"License: {stated[0]}. Attribution: {stated[1]}."


def _describe_place(place: NearestPlaceOut) -> str:
    return f"{format_length(place.distance_m)} from {place.name}, {place.country}"


def _list_names(answer: AnswerOut) -> dict[UUID, str | None]:
    names = {candidate.image_id: candidate.file_name for candidate in answer.candidates}
    for citations in answer.citations.values():
        names |= {citation.image_id: citation.file_name for citation in citations}
    return names
