"""Sentences of a dossier: limits of the method, and what is missing for an answer."""

from __future__ import annotations

from typing import Final

from pinpoint.api.v1.schemas.answer import AnswerOut

_LIMITS: Final = (
    "The answer is an estimate. It compares the photo with the images of one gallery and cannot "
    "find a place that this gallery does not show.",
    "Similar places exist more than once: chains, prefabricated buildings, landscapes. Compare the "
    "evidence with the photo yourself before you rely on the answer.",
    "A verified match shows the same surfaces in both images. A printed image of a place, a "
    "vehicle or a repeated structure can produce such a match elsewhere.",
    "Position, time and heading that the photo claims come from its metadata, which anyone can "
    "change. The answer does not depend on them.",
    "The position of the sun is computed for the claimed time. It is not compared with the photo; "
    "a person has to compare it with light and shadows.",
    "The gallery can change after this dossier was made. The same photo gets the same answer from "
    "the same bundle and the same index build with unchanged images.",
    "The checksums show damage and careless changes. They are no signature: a person who changes a "
    "file can also compute new checksums. Keep the SHA-256 of the ZIP file elsewhere, or sign it.",
)
_UNCALIBRATED: Final = (
    "This answer is not calibrated: its radii hold a share of the ranker's weights, not a "
    "probability."
)
_CALIBRATED: Final = (
    "Probabilities hold on average for photos like those of the calibration. They do not hold for "
    "one photo alone, and not for photos chosen to mislead."
)
_COARSE: Final = (
    "The position is coarse on purpose, because of a protected area or the limits of the API key. "
    "The dossier therefore has no candidates and no evidence."
)
_MISSING: Final = {
    "no_candidates": "The search space has no candidate: the gallery has no image that passes the "
    "filters and that this key may use. Remove filters, or add images of places that the photo may "
    "show.",
    "not_in_gallery": "The gallery probably has no image near the photo. Add images of places that "
    "it may show, best of both source kinds; the point is only a guess.",
    "outside_candidates": "Probably no candidate is near the photo. A filter to the right country, "
    "or a second photo of the place, can help; the point is only a guess.",
}


def list_method_limits(answer: AnswerOut) -> list[str]:
    """Return the limits of the method that apply to an answer."""
    limits = list(_LIMITS)
    limits.insert(1, _CALIBRATED if answer.calibrated else _UNCALIBRATED)
    if answer.granularity != "exact":
        limits.insert(0, _COARSE)
    return limits


def list_missing(answer: AnswerOut) -> list[str]:
    """Return what is missing for an answer; nothing if it does not abstain."""
    reason = answer.abstention_reason or ("no_candidates" if answer.point is None else None)
    if reason is None:
        return []
    missing = [_MISSING.get(reason, f"The answer abstains: {reason}.")]
    if answer.posterior is not None and answer.posterior.p_not_in_gallery is not None:
        share = answer.posterior.p_not_in_gallery
        missing.append(
            f"With a probability of {share:.0%} the gallery has no image within 25 km of the photo "
            "(prior: 50%)."
        )
    kinds = {kind for kind, citations in answer.citations.items() if citations}
    if len(kinds) == 1:
        (kind,) = kinds
        missing.append(
            f"All cited images are of source kind {kind}; no image of the other kind supports the "
            "point."
        )
    return [*missing, *answer.warnings]
