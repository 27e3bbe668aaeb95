"""Ports for decoding, encoding, reranking, nearest neighbors, blobs and tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.records import (
    C2paClaim,
    Candidate,
    Contract,
    CoordinateGallery,
    Crop,
    DecodedImage,
    Evidence,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    IndexSpec,
    MetadataOverride,
    Pixels,
    Rejected,
    RerankOutput,
    SourceKind,
    Vector,
)
from pinpoint.tasks import GALLERY_QUEUES, TaskName


class Encoder(Protocol):
    """Encodes images as unit vectors, always with the same preprocessing."""

    @property
    def contract(self) -> Contract:
        """Inputs and outputs of the loaded bundle."""
        ...

    def encode_channels(
        self, images: Sequence[Pixels], kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode images `[H, W, 3]` uint8 as fp32 unit vectors `[B, D]` by channel.

        The channels are `image`, and `raw` if the contract has it. The vector of an image does not
        depend on the rest of the batch (to 1e-5).
        """
        ...

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """Encode one image as a vector `[D]`; bit-equal at every call, whatever the load."""
        ...

    def encode_query_channels(
        self, image: Pixels, kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode one image as a vector `[D]` by channel, as `encode_query` does."""
        ...

    def encode_positions(self, positions: NDArray[np.float64]) -> Vector:
        """Encode positions `[B, 2]` (lat, lon in degrees) as fp32 unit vectors `[B, D]`.

        Called only if the contract has the channel `gps`. Batching does not change the vectors.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Encode texts as fp32 unit vectors `[B, D]`, in the space of the channel `image`.

        Raises:
            UnsupportedQueryError: The bundle has no text encoder.
        """
        ...

    def coordinate_gallery(self) -> CoordinateGallery:
        """The coordinate list of the bundle, encoded once.

        Raises:
            ConflictError: The bundle has no list.
        """
        ...


class Reranker(Protocol):
    """Scores the candidates of a query by their evidence and by each other."""

    @property
    def evidence_radius_m(self) -> float:
        """Maximum distance of evidence, as in training."""
        ...

    @property
    def evidence_per_kind(self) -> int:
        """Evidence photos per candidate and kind."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the weights."""
        ...

    def rerank(
        self,
        vector: Vector,
        kind: SourceKind | None,
        candidates: Sequence[Candidate],
        evidence: Mapping[UUID, Sequence[Evidence]],
        points: Sequence[IndexPoint],
    ) -> RerankOutput:
        """Compute logits, a no-match logit and refined positions; deterministic for the same query.

        Args:
            vector: Query `[D]`.
            kind: Source kind of the query, if known.
            candidates: `[K]`, in any order.
            evidence: Evidence by candidate id, nearest first.
            points: The candidates' index points with vectors, in any order; some may be missing.
        """
        ...


class Decoder(Protocol):
    """Decodes untrusted bytes in a restricted child process."""

    def read(
        self,
        file: str,
        data: bytes | str,
        metadata_override: MetadataOverride | None = None,
        *,
        query: bool = False,
        crop: Crop | None = None,
    ) -> DecodedImage | Rejected:
        """Decode one file.

        Args:
            file: Name for messages.
            data: The bytes, or a path.
            metadata_override: Metadata from outside the file.
            query: True for a query photo: it needs no position and gets no thumbnail; its metadata
                are only in `DecodedImage.claim`.
            crop: Region to decode, cut from all pixels of the file before they are reduced; None
                for the whole image. With a crop, a panorama is one image without faces.
        """
        ...

    def read_c2pa(self, data: bytes) -> C2paClaim:
        """Read the C2PA manifest of a query photo, in a restricted child process, without requests.

        A manifest that cannot be read is stated in the claim; it raises no error.

        Args:
            data: The bytes of a file that `read` accepted.
        """
        ...

    def close(self) -> None:
        """End the child process."""
        ...


class JpegConverter(Protocol):
    """Converts untrusted image files to JPEGs without metadata in a restricted child process."""

    def convert_to_jpeg(
        self, file: str, data: bytes, *, width: int | None = None, face: str | None = None
    ) -> bytes | Rejected:
        """Convert one file.

        A JPEG at its full size is not encoded again: only its metadata are removed; color profile
        and orientation stay. All other images become upright sRGB. Equal calls of one release
        return equal bytes.

        Args:
            file: Name for messages.
            data: The bytes.
            width: Maximum width in pixels of the upright image; None for its full size. An image
                is never enlarged.
            face: Cube-map face to cut from a panorama; None for the whole image.
        """
        ...


class VectorIndex(Protocol):
    """The index over one contract; every write carries the row's version.

    Raises `IndexUnavailableError` if the engine does not answer.
    """

    def info(self) -> IndexInfo:
        """Content and build of the index."""
        ...

    def ensure(self, spec: IndexSpec) -> None:
        """Create the index if it does not exist.

        Raises:
            ModelMismatchError: The index exists for another contract.
        """
        ...

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; skip a point whose stored version (also of a tombstone) is higher.

        Args:
            points: Points to write.
            contract: Digest of the bundle that computed their vectors. None is for vectors that
                came from the index or were read for it.

        Raises:
            ModelMismatchError: The index is for another contract; nothing is written.
        """
        ...

    def write_tombstones(self, versions: Mapping[UUID, int]) -> None:
        """Write tombstones of these versions; no older version can replace them."""
        ...

    def delete_points(self, ids: Iterable[UUID]) -> None:
        """Delete points and tombstones, when no writer of an old version can be alive."""
        ...

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Run several queries in one request; hits are best first, ties by `Hit.tie_key`.

        Raises:
            ModelMismatchError: The vector of a query is of another contract than the index.
        """
        ...

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points with these ids, in no order; missing ids are omitted."""
        ...

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list means the end."""
        ...

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        ...


class PointSource(Protocol):
    """Source of an index build in PostgreSQL: all live, embedded images of one contract."""

    def spec(self) -> IndexSpec:
        """The contract and its vector widths."""
        ...

    def watermark(self) -> int:
        """A mark that increases with every change of a row; read it before `stream`."""
        ...

    def stream(self, since: int = 0, chunk: int = 512) -> Iterator[list[IndexPoint]]:
        """Points whose row changed at or after `since` (0: all), in chunks, with vectors."""
        ...

    def tombstones(self, since: int = 0) -> dict[UUID, int]:
        """Deleted rows that changed at or after `since`, with their version."""
        ...

    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum number of live points of a complete index.

        Images that wait for the index may already be in it.
        """
        ...


class BlobStore(Protocol):
    """Blobs with unique names, separate for each organization.

    A name belongs to one row and is never shared, so deleting the blob of a row affects no other
    row.
    """

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their URI."""
        ...

    def path(self, uri: str) -> str:
        """Path of a blob, or of a file stored by reference, for a decoder on the same machine.

        A file at a URL is downloaded first.

        Raises:
            NotFoundError: The URI has no blob.
            RemoteFileError: The URL is refused, or its file cannot be fetched.
        """
        ...

    def discard_downloads(self, uris: Sequence[str]) -> None:
        """Delete the local copies of files at URLs; other URIs change nothing."""
        ...

    def get(self, uri: str) -> bytes:
        """Read bytes back.

        Raises:
            NotFoundError: The URI has no blob.
        """
        ...

    def delete(self, uri: str) -> None:
        """Delete a blob; a missing blob is no error."""
        ...

    def list_older_than(self, older_than_s: float) -> Iterator[str]:
        """URIs of all blobs that are older than this."""
        ...

    def delete_partial(self, older_than_s: float) -> int:
        """Delete partial files of interrupted calls of `put`; returns their number."""
        ...

    def erase(self, organization_id: UUID) -> None:
        """Delete all blobs of an organization; a missing folder is no error."""
        ...


class TaskQueue(Protocol):
    """Sends ids to workers."""

    def send(self, name: TaskName, ids: Sequence[UUID] = ()) -> None:
        """Send one task.

        Raises:
            BrokerUnavailableError: The broker did not accept it within a few seconds.
        """
        ...

    def check(self) -> None:
        """Raise `BrokerUnavailableError` unless the broker answers."""
        ...

    def waiting(self, queues: Sequence[str] = GALLERY_QUEUES) -> int:
        """Number of tasks of all these queues that no worker has taken."""
        ...
