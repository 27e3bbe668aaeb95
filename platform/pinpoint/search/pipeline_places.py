"""Locate without a gallery, as a recipe.

photo ─decode→ pixels ─encode→ vector ─compare→ [place that the bundle knows] ─decide→ Answer
"""

from __future__ import annotations

from pinpoint.ports import Decoder, Encoder
from pinpoint.records import Answer, Limits, SourceKind
from pinpoint.search import answer, places
from pinpoint.search.pipeline import encoded
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.settings import SearchSettings


def locate_by_places(
    data: bytes,
    *,
    file: str,
    limits: Limits,
    kind: SourceKind | None,
    decoder: Decoder,
    encoder: Encoder,
    settings: SearchSettings,
) -> Answer:
    """Locate without a gallery, over the places that the bundle knows; arguments as `locate`.

    Raises:
        BadRequest: The limits speak of what places have not.
        Conflict: The bundle knows no places.
        BadPhoto: As `locate`, and so `TooLarge`.
    """
    places.check(limits)
    watch, contract = Stopwatch(), encoder.contract
    with watch.stage("retrieve"):
        known = encoder.listed_places()
    vector = encoded(data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch)
    with watch.stage("rank"):
        compared = places.compare(vector, known, limits)
    with watch.stage("decide"):
        best = places.best(compared, settings.candidates)
        decision = answer.decide_places(best, compared.positions, compared.mass)
    return answer.composed(
        decision,
        contract,
        watch.read(),
        ranker=places.NAME,
        engine=places.NAME,
        build=known.digest[:16],
        note=places.NOTE,
    )
