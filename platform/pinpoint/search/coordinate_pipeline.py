"""The flow `locate` without a gallery.

photo ─decode→ pixels ─encode→ vector ─compare→ [coordinate of the bundle] ─decide→ Answer
"""

from __future__ import annotations

from pinpoint.ports import Decoder, Encoder
from pinpoint.records import Answer, SearchFilter, SourceKind
from pinpoint.search import answer, coordinate_search
from pinpoint.search.pipeline import encode_photo
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.settings import SearchSettings


def locate_by_coordinates(
    data: bytes,
    *,
    file: str,
    limits: SearchFilter,
    kind: SourceKind | None,
    decoder: Decoder,
    encoder: Encoder,
    settings: SearchSettings,
) -> Answer:
    """Locate over the bundle's coordinate list, without a gallery; arguments as `locate`.

    Raises:
        BadRequestError: The filter uses attributes that coordinates do not have.
        ConflictError: The bundle has no coordinate list.
        BadPhotoError: As `locate`.
        TooLargeError: As `locate`.
    """
    coordinate_search.require_coordinates(limits)
    watch, contract = Stopwatch(), encoder.contract
    with watch.stage("retrieve"):
        coordinates = encoder.listed_places()
    vector = encode_photo(data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch)
    with watch.stage("rank"):
        compared = coordinate_search.compare_coordinates(vector, coordinates, limits)
    with watch.stage("decide"):
        ranked = coordinate_search.select_best(compared, settings.candidates)
        decision = answer.decide_coordinates(ranked, compared.positions, compared.mass)
    return answer.build_answer(
        decision,
        contract,
        watch.read(),
        ranker=coordinate_search.NAME,
        engine=coordinate_search.NAME,
        build=coordinates.digest[:16],
        note=coordinate_search.NOTE,
    )
