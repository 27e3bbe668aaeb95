"""The PDF of a dossier, section by section; `pdf_images` has those with images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from pinpoint.api.dossiers import pdf_images
from pinpoint.api.dossiers.content import DossierImages
from pinpoint.api.dossiers.pdf_page import ReportPdf
from pinpoint.api.dossiers.pdf_sketch import add_sketch
from pinpoint.api.dossiers.pdf_values import (
    format_channels,
    format_degrees,
    format_lat_lon,
    format_match,
    format_utc,
    shorten_text,
)
from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.api.v1.schemas.claims import C2paOut, ClaimOut
from pinpoint.api.v1.schemas.dossiers import DossierOut
from pinpoint.api.v1.schemas.explanation import ExplanationOut
from pinpoint.geo.lengths import format_length

_DROP_REASONS = {
    "redundant": "next to a better candidate of its panorama or sequence",
    "no_slot": "better images filled the slots of its kind and channel",
}


def render_pdf(document: DossierOut, images: DossierImages) -> bytes:
    """Render the PDF of a dossier.

    Args:
        document: The document of the dossier.
        images: Thumbnails and match pictures.
    """
    created_at = document.created_at.astimezone(UTC)
    hashes = ", ".join(photo.sha256[:16] for photo in document.photos)
    pdf = ReportPdf("Pinpoint dossier", created_at, f"Pinpoint dossier, photo {hashes}")
    pdf.add_title("Pinpoint dossier", f"Created {format_utc(created_at)}")
    _add_answer(pdf, document)
    _add_photos(pdf, document)
    _add_claims(pdf, document)
    pdf_images.add_evidence(pdf, document, images)
    pdf_images.add_matches(pdf, document, images)
    _add_candidates(pdf, document.answer)
    _add_dropped(pdf, document.answer.explanation)
    _add_query(pdf, document)
    pdf.add_heading("Limits of the method")
    pdf.add_list(document.method_limits)
    _add_origin(pdf, document)
    return bytes(pdf.output())


def _add_answer(pdf: ReportPdf, document: DossierOut) -> None:
    """The answer in words, its areas and probabilities."""
    answer = document.answer
    pdf.add_heading("Answer")
    if answer.point is None:
        pdf.add_statement("No answer")
    else:
        guess = "" if answer.abstention_reason is None else "No answer; best guess "
        pdf.add_statement(f"{guess}{format_lat_lon(answer.point.lat, answer.point.lon)}")
    if document.missing:
        pdf.add_warning(document.missing)
    else:
        pdf.add_warning(answer.warnings)
    pdf.add_facts(_list_answer_facts(answer))
    if answer.credible_discs:
        pdf.add_text(answer.calibration_note, muted=True)
    add_sketch(pdf, answer)


def _list_answer_facts(answer: AnswerOut) -> Iterator[tuple[str, str]]:
    if answer.granularity != "exact":
        yield "precision", f"{answer.granularity}: {answer.place or 'a disc'}"
    unit = "" if answer.calibrated else " of the ranker's weights"
    for disc in answer.credible_discs:
        text = f"{disc.probability:.0%}{unit} within {format_length(disc.radius_m)}"
        yield "radius", f"{text} of the point"
    posterior = answer.posterior
    if posterior is not None:
        for region in posterior.credible_regions:
            parts = len(region.geometry.coordinates)
            text = f"{region.probability:.0%} in {region.area_km2:,.1f} km²"
            yield "region", f"{text}, {parts} part{'' if parts == 1 else 's'} (answer.geojson)"
        radii = [
            f"{entry.radius_km:g} km {entry.probability:.0%}"
            for entry in posterior.probability_within_km
        ]
        yield "probability within", " · ".join(radii)
        for name in posterior.names:
            yield name.level, f"{name.name}: {name.probability:.0%}"
        yield "near no candidate", f"{posterior.p_outside_candidates:.0%}"
        if posterior.p_not_in_gallery is not None:
            yield "not in gallery", f"{posterior.p_not_in_gallery:.0%}"
    threshold = answer.verification_threshold
    if threshold is not None:
        state = "a cited image is verified" if answer.verified else "no cited image is verified"
        rate = threshold.false_match_rate
        basis = (
            "default threshold, not calibrated on this gallery"
            if rate is None
            else f"false-match rate {rate:.2g} on this gallery"
        )
        yield "verification", f"{state} ({threshold.min_inliers} inliers or more; {basis})"


def _add_photos(pdf: ReportPdf, document: DossierOut) -> None:
    pdf.add_heading("Query photo" if len(document.photos) == 1 else "Query photos")
    for photo in document.photos:
        facts = [
            ("file name", shorten_text(photo.file_name)),
            ("SHA-256", photo.sha256),
            ("size", f"{photo.size_bytes:,} bytes"),
        ]
        if photo.crop is not None:
            facts.append(("region (x, y, w, h)", f"{photo.crop} pixels"))
        included = "in this dossier" if photo.path else "not in this dossier, not on the server"
        facts.append(("file", f"{photo.path}, {included}" if photo.path else included))
        pdf.add_facts(facts)
    if not document.query.include_photo:
        pdf.add_text(
            "Pinpoint does not store query photos. Whoever has the photo can compare its SHA-256. "
            "Match pictures would show the photo and are omitted; the positions of the inliers "
            "are in dossier.json.",
            muted=True,
        )


def _add_claims(pdf: ReportPdf, document: DossierOut) -> None:
    pdf.add_heading("Claims of the photo")
    pdf.add_text(
        "What the metadata of the photo state. The answer does not depend on them.", muted=True
    )
    for claim in document.answer.claims:
        pdf.add_facts(_list_claim_facts(claim))
    if not document.sun_positions:
        pdf.add_text("Without a claimed time there is no position of the sun.", muted=True)
        return
    rows = [
        [
            str(sun.photo),
            "C2PA" if sun.origin == "c2pa" else "metadata",
            "claimed place" if sun.place == "claim" else "answer",
            format_lat_lon(sun.lat, sun.lon),
            format_utc(sun.time) + (" (no offset)" if sun.time_assumed_utc else ""),
            format_degrees(sun.elevation_deg) + (" (night)" if sun.elevation_deg < -0.83 else ""),
            format_degrees(sun.azimuth_deg),
        ]
        for sun in document.sun_positions
    ]
    columns = (
        (">photo", 1.1), ("claim", 1.6), ("sun at", 2.1), ("latitude, longitude", 3.2),
        ("claimed time", 4.6), (">elevation", 2.2), (">azimuth", 1.5),
    )  # fmt: skip
    pdf.add_table(columns, rows)


def _list_claim_facts(claim: ClaimOut) -> Iterator[tuple[str, str]]:
    source = claim.position_source or "?"
    if claim.point is None:
        yield f"photo {claim.photo}: place", claim.position_note or "none"
    else:
        place = format_lat_lon(claim.point.lat, claim.point.lon)
        yield f"photo {claim.photo}: place", f"{place} ({source})"
    if claim.distance_m is not None:
        agrees = {True: ", agrees", False: ", does not agree", None: ""}[claim.agrees]
        yield "distance", f"{format_length(claim.distance_m)} from the point{agrees}"
    if claim.captured_at is not None:
        note = "; no offset from UTC, may be wrong by hours" if claim.time_assumed_utc else ""
        yield "time", f"{format_utc(claim.captured_at)} ({claim.time_source}{note})"
    if claim.heading_deg is not None:
        yield "heading", format_degrees(claim.heading_deg)
    yield from _list_c2pa_facts(claim.c2pa)


def _list_c2pa_facts(claim: C2paOut) -> Iterator[tuple[str, str]]:
    """The C2PA manifest of a photo, if there is one or it was not read."""
    if claim.state == "absent":
        return
    parts = [
        claim.state.replace("_", " "),
        claim.state_reason or "",
        ", ".join(claim.failure_codes),
    ]
    yield "C2PA manifest", shorten_text("; ".join(part for part in parts if part), 300)
    if claim.signer is not None:
        yield "C2PA signer", shorten_text(claim.signer)
    if claim.declares_generative_ai:
        yield "C2PA content", "declares generative AI"
    if claim.point is not None:
        yield "C2PA place", format_lat_lon(claim.point.lat, claim.point.lon)
    if claim.captured_at is not None:
        yield "C2PA time", format_utc(claim.captured_at)


def _add_candidates(pdf: ReportPdf, answer: AnswerOut) -> None:
    """Table of the kept candidates, best first."""
    pdf.add_heading("Candidates kept")
    explained = [] if answer.explanation is None else answer.explanation.candidates
    shown = {candidate.image_id: candidate for candidate in answer.candidates}
    if not answer.candidates:
        kind = "compared coordinates" if answer.coordinates else "candidates"
        pdf.add_text(f"{answer.num_candidates} {kind}; the answer lists no images.")
        for coordinate in answer.coordinates:
            place = format_lat_lon(coordinate.lat, coordinate.lon)
            pdf.add_text(f"{place}: weight {coordinate.weight:.3f}, score {coordinate.score:.3f}")
        return
    more = {entry.image_id: entry for entry in explained}
    order = [*shown, *(entry.image_id for entry in explained if entry.image_id not in shown)]
    rows = []
    for rank, image_id in enumerate(order):
        candidate, entry = shown.get(image_id), more.get(image_id)
        weight = candidate.weight if candidate else entry.weight if entry else 0.0
        cited = "cited" if entry is not None and entry.is_cited else "kept"
        if candidate is None:
            row = [str(image_id), "", "", format_channels(entry.channels if entry else {}), ""]
        else:
            row = [
                candidate.file_name or str(image_id),
                candidate.source or "",
                candidate.source_kind,
                format_channels(candidate.channels),
                format_match(candidate.verification),
            ]
        rows.append([str(rank), *row[:4], f"{weight:.3f}", row[4], cited])
    columns = (
        (">rank", 0.9), ("file or image", 5.8), ("source", 2.2), ("kind", 1.1),
        ("score (rank) by channel", 3.1), (">weight", 1.2), ("inliers", 1.8), ("status", 1.3),
    )  # fmt: skip
    pdf.add_table(columns, rows)


def _add_dropped(pdf: ReportPdf, explanation: ExplanationOut | None) -> None:
    """Table of the dropped images, with reasons."""
    pdf.add_heading("Images dropped")
    if explanation is None:
        pdf.add_text("Not recorded for this key, or for this search space.")
        return
    hits = ", ".join(f"{number} by {name}" for name, number in explanation.num_hits.items())
    listed = len(explanation.dropped)
    pdf.add_text(
        f"The index returned {hits or 'no image'}. Dropped: {explanation.num_dropped}"
        + (f"; the best {listed} are listed." if listed < explanation.num_dropped else ".")
    )
    rows = [
        [
            str(entry.image_id),
            entry.source_kind,
            format_channels(entry.channels),
            _DROP_REASONS.get(entry.drop_reason, entry.drop_reason),
        ]
        for entry in explanation.dropped
    ]
    if rows:
        columns = (
            ("image", 5.2), ("kind", 1.2), ("score (rank) by channel", 3.4), ("reason", 5.2)
        )  # fmt: skip
        pdf.add_table(columns, rows)


def _add_query(pdf: ReportPdf, document: DossierOut) -> None:
    query, answer = document.query, document.answer
    pdf.add_heading("Query and settings")
    filters = answer.filters.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    settings = [f"{name} {value}" for name, value in document.settings.items() if value is not None]
    pdf.add_facts(
        [
            ("query kind", query.query_kind or "not stated"),
            ("search space", query.search_space),
            ("candidates shown", str(query.top)),
            ("candidates compared", str(query.verify)),
            ("filters", _format_filters(filters)),
            ("settings", ", ".join(settings)),
        ]
    )


def _format_filters(filters: Mapping[str, Any]) -> str:
    """Filters by name; lists without brackets."""
    texts = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in filters.items()
        if value
    }
    return "; ".join(f"{name} {text}" for name, text in texts.items())


def _add_origin(pdf: ReportPdf, document: DossierOut) -> None:
    """Which weights, index and code gave the answer, and how to check the files."""
    answer = document.answer
    pdf.add_heading("Origin", min_space_mm=50)
    fallback = f" ({answer.ranker_fallback_reason})" if answer.ranker_fallback_reason else ""
    pdf.add_facts(
        [
            ("bundle", answer.bundle.name),
            ("bundle digest", answer.bundle.digest),
            ("ranker", f"{answer.ranker}{fallback}"),
            ("index", f"{answer.index.engine}, build {answer.index.build or '–'}"),
            ("Pinpoint", document.code_version),
            ("time", format_utc(document.created_at)),
            ("abilities of the bundle", answer.bundle.note),
        ]
    )
    pdf.add_text(
        "Check the files with `pinpoint verify-dossier FILE --photo PHOTO`, or unpack the ZIP file "
        "and run `sha256sum -c SHA256SUMS`. dossier.json has all values in full."
    )
    if pdf.replaced_text:
        pdf.add_text(
            "\N{REPLACEMENT CHARACTER} replaces characters that the font DejaVu Sans cannot show; "
            "dossier.json has the exact texts.",
            muted=True,
        )
