"""The flow `locate` without a gallery.

photo ─decode→ pixels ─encode→ vector ─compare→ [coordinate of the bundle] ─decide→ Answer
"""

from __future__ import annotations

from collections.abc import Sequence

from pinpoint.ports import Decoder, Encoder
from pinpoint.records import Answer, SearchFilter
from pinpoint.search import answer, claims, coordinate_search
from pinpoint.search.candidates_and_evidence import encode_photos
from pinpoint.search.context import QueryPhoto
from pinpoint.search.stopwatch import ReportStage, Stopwatch
from pinpoint.settings import SearchSettings


def locate_by_coordinates(
    photos: QueryPhoto | Sequence[QueryPhoto],
    search_filter: SearchFilter,
    *,
    decoder: Decoder,
    encoder: Encoder,
    settings: SearchSettings,
    report_stage: ReportStage | None = None,
) -> Answer:
    """Locate over the bundle's coordinate list, without a gallery.

    Args:
        photos: The photo, or several photos of one place.
        search_filter: Search filter; only its area applies to coordinates.
        decoder: Decodes the photos.
        encoder: Encodes the photos and gives the coordinate list.
        settings: Search settings.
        report_stage: Called with the name of each stage when it starts.

    Raises:
        InvalidRequestError: The filter uses attributes that coordinates do not have.
        ConflictError: The bundle has no coordinate list.
        BadPhotoError: As `pipeline.locate`.
        TooLargeError: As `pipeline.locate`.
    """
    coordinate_search.require_coordinates(search_filter)
    stopwatch = Stopwatch(report_stage)
    with stopwatch.stage("retrieve"):
        coordinates = encoder.coordinate_gallery()
    query = [photos] if isinstance(photos, QueryPhoto) else photos
    encoded = encode_photos(query, decoder, encoder, stopwatch)
    with stopwatch.stage("rank"):
        compared = coordinate_search.compare_coordinates(encoded.vector, coordinates, search_filter)
    with stopwatch.stage("decide"):
        ranked = coordinate_search.select_best(compared, settings.candidates)
        decision = answer.decide_coordinates(ranked, compared.positions, compared.weight)
    provenance = answer.Provenance(
        contract=encoder.contract,
        ranker=coordinate_search.COORDINATE_RANKER,
        engine=coordinate_search.COORDINATE_RANKER,
        build=coordinates.digest[:16],
        warnings=(coordinate_search.WARNING,),
    )
    located = answer.build_answer(decision, provenance, stopwatch.timings_ms())
    return claims.add_claims(located, encoded.claims)
