"""Finds candidates and evidence: the stage that serving, evaluation and training share.

photo ─decode→ pixels ─encode→ vector ─retrieve→ [Candidate] ─one read→ [Evidence]

A query of training or evaluation therefore has the candidates and the evidence that serving has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from pinpoint.errors import InvalidRequestError
from pinpoint.ports import CatalogReader, Decoder, Encoder
from pinpoint.records import (
    IMAGE_CHANNEL,
    Candidate,
    CaptureClaim,
    Crop,
    Evidence,
    Exclusions,
    IndexInfo,
    IndexPoint,
    Pixels,
    SearchFilter,
    Vector,
)
from pinpoint.search import consistency, exclusion_filter, query, retrieve
from pinpoint.search.context import EvidenceSettings, QueryPhoto, SearchContext
from pinpoint.search.evidence import EvidenceQuery, fetch_evidence
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.vector_math import mean_direction


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatesAndEvidence:
    """Candidates and evidence of a query, and the open read of the catalog that returned it."""

    snapshot: IndexInfo
    """Description of the index that returned the candidates."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    vectors: Sequence[IndexPoint]
    """Index points of the candidates, if they were requested."""
    exclusions: Exclusions
    """With the ids of all images that were excluded from the candidates."""
    evidence: Mapping[UUID, tuple[Evidence, ...]]
    """By candidate id, nearest first."""
    reader: CatalogReader
    """Valid until the read ends."""
    evidence_query: EvidenceQuery

    def fetch_evidence(
        self, candidates: Sequence[Candidate], exclusions: Exclusions
    ) -> Mapping[UUID, tuple[Evidence, ...]]:
        """Read evidence again, for other candidates or with other exclusions."""
        return fetch_evidence(candidates, self.evidence_query, self.reader, exclusions)


def decode_photo(photo: QueryPhoto, decoder: Decoder) -> Pixels:
    """Decode a query photo to pixels `[H, W, 3]`; of a panorama, the first face.

    Raises:
        BadPhotoError: The bytes are not an accepted image.
        TooLargeError: The image exceeds a limit.
        InvalidRequestError: The crop does not fit the image.
    """
    pixels, _ = _decode_photo_and_claim(photo, decoder)
    return pixels


def _decode_photo_and_claim(photo: QueryPhoto, decoder: Decoder) -> tuple[Pixels, CaptureClaim]:
    return query.decode_query(photo.data, file=photo.file, decoder=decoder, crop=photo.crop)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPhotos:
    """The vector and the pixels of a query."""

    vectors: Mapping[str, Vector]
    """By channel, `image` and `raw` if any: `[D]`; of several photos, the normalized mean of their
    vectors."""
    pixels: tuple[Pixels, ...] = ()
    """Pixels `[H, W, 3]` of each distinct photo."""
    claims: tuple[CaptureClaim, ...] = ()
    """Claim of each photo, in the order of the query, which also has equal photos."""

    @property
    def vector(self) -> Vector:
        """`[D]` of the channel `image`."""
        return self.vectors[IMAGE_CHANNEL]


def list_distinct_photos(photos: Sequence[QueryPhoto]) -> list[QueryPhoto]:
    """The photos of a query, without those of equal bytes and crop, in their order."""
    distinct: dict[tuple[bytes, Crop | None], QueryPhoto] = {}
    for photo in photos:
        distinct.setdefault((photo.data, photo.crop), photo)
    return list(distinct.values())


def encode_photos(
    photos: Sequence[QueryPhoto], decoder: Decoder, encoder: Encoder, stopwatch: Stopwatch
) -> EncodedPhotos:
    """Decode and encode one or more query photos of one place.

    The fused vector is the normalized mean of the vectors: the direction with the highest mean
    cosine to all photos. Equal photos count once, and the order of the photos has no effect.

    Args:
        photos: At least one photo.
        decoder: Decodes the photos.
        encoder: Encodes the photos.
        stopwatch: Measures the stages `decode` and `encode`.

    Raises:
        InvalidRequestError: There is no photo, or a crop does not fit its image.
        BadPhotoError: As `decode_photo`.
        TooLargeError: As `decode_photo`.
    """
    if not photos:
        raise InvalidRequestError("a query needs at least one photo")
    pixels: list[Pixels] = []
    claims: dict[tuple[bytes, Crop | None], CaptureClaim] = {}
    vectors: dict[str, list[Vector]] = defaultdict(list)
    for photo in list_distinct_photos(photos):
        with stopwatch.stage("decode"):
            photo_pixels, claim = _decode_photo_and_claim(photo, decoder)
            claim = replace(claim, c2pa=decoder.read_c2pa(photo.data))
        pixels.append(photo_pixels)
        claims[(photo.data, photo.crop)] = claim
        with stopwatch.stage("encode"):
            channels = encoder.encode_query_channels(pixels[-1], photo.kind)
        for channel, vector in channels.items():
            vectors[channel].append(vector)
    fused = {
        channel: rows[0] if len(rows) == 1 else mean_direction(np.stack(rows))
        for channel, rows in vectors.items()
    }
    return EncodedPhotos(
        vectors=fused,
        pixels=tuple(pixels),
        claims=tuple(claims[(photo.data, photo.crop)] for photo in photos),
    )


def resolve_query_exclusions(exclusions: Exclusions, context: SearchContext) -> Exclusions:
    """The exclusions with hashes, creators and sequences replaced by the ids of their images.

    Near-duplicates are not resolved, because only retrieval and evidence can detect them.
    """
    with context.stopwatch.stage("exclude"):
        return exclusion_filter.resolve_excluded_ids(
            exclusions, organization_id=context.organization_id, database=context.database
        )


@contextmanager
def find_candidates_and_evidence(
    vector: Vector,
    search_filter: SearchFilter,
    context: SearchContext,
    *,
    evidence_settings: EvidenceSettings,
    raw_vector: Vector | None = None,
    exclusions: Exclusions | None = None,
    with_vectors: bool = False,
) -> Iterator[CandidatesAndEvidence]:
    """Find candidates with one index request, and their evidence with one read of the catalog.

    The read of the catalog stays open for the block of the caller.

    Args:
        vector: Query `[D]`.
        search_filter: The caller's search filter.
        context: Gallery and components.
        evidence_settings: How much evidence each candidate gets.
        raw_vector: Query `[F]` for the channel `raw`; without it that channel is not searched.
        exclusions: Images treated as absent from the gallery; None in production.
        with_vectors: Whether to fetch the vectors of the candidates, for a reranker.

    Raises:
        ModelMismatchError: The index contains vectors of another bundle.
        UnavailableError: The index or the database does not respond.
    """
    contract, stopwatch = context.encoder.contract, context.stopwatch
    if exclusions is not None:
        exclusions = resolve_query_exclusions(exclusions, context)
    with stopwatch.stage("retrieve"):
        for snapshot in consistency.consistent_snapshots(context.index, contract):
            candidates, all_exclusions = retrieve.retrieve_candidates(
                vector,
                search_filter,
                context,
                snapshot=snapshot,
                raw_vector=raw_vector,
                exclusions=exclusions,
            )
            vectors = (
                retrieve.fetch_candidate_vectors(candidates, context.index) if with_vectors else []
            )
    evidence_query = EvidenceQuery(
        vector=vector,
        contract=contract.digest,
        search_filter=search_filter,
        settings=evidence_settings,
    )
    with context.database.read(context.organization_id) as reader:
        with stopwatch.stage("evidence"):
            evidence_by_candidate = fetch_evidence(
                candidates, evidence_query, reader, all_exclusions
            )
        yield CandidatesAndEvidence(
            snapshot=snapshot,
            candidates=candidates,
            vectors=vectors,
            exclusions=all_exclusions or Exclusions(),
            evidence=evidence_by_candidate,
            reader=reader,
            evidence_query=evidence_query,
        )


def count_gallery_images(
    search_filter: SearchFilter, context: SearchContext, exclusions: Exclusions | None = None
) -> int:
    """Number of gallery images that pass the filter and are not excluded."""
    exclusions = exclusions or Exclusions()
    where = retrieve.to_index_filter(
        context.organization_id, search_filter, exclude_ids=exclusions.ids
    )
    return context.index.count(replace(where, exclude_circle=exclusions.circle))
