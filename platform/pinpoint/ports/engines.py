"""What flows ask of machines: decoding, encoding, nearest neighbours, bytes, jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.jobs import JobName
from pinpoint.records import (
    Candidate,
    Contract,
    Evidence,
    Hint,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    IndexSpec,
    Judgement,
    Pixels,
    PlaceList,
    Reading,
    Rejected,
    SourceKind,
    Vector,
)


class Encoder(Protocol):
    """Turns pictures into unit vectors, always by the same preprocessing."""

    @property
    def contract(self) -> Contract:
        """What the loaded bundle expects and produces."""
        ...

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Pictures `[H, W, 3]` uint8 in, fp32 unit vectors `[B, D]` out.

        The vector of a picture does not depend on what else is in the batch (to 1e-5).
        """
        ...

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """One picture in, one vector `[D]` out; bit-equal at every call, whoever else asks."""
        ...

    def encode_places(self, positions: NDArray[np.float64]) -> Vector:
        """Positions `[B, 2]` lat, lon in degrees, fp32 unit vectors `[B, D]` out, batch or not.

        Asked only where the contract has the channel `gps`.
        """
        ...

    def listed_places(self) -> PlaceList:
        """The places that the bundle knows by itself, encoded once.

        Raises:
            Conflict: It knows none.
        """
        ...


class Reranker(Protocol):
    """Judges the candidates of a question by their evidence and by each other."""

    @property
    def evidence_radius_m(self) -> float:
        """How far evidence may stand, as it did in training."""
        ...

    @property
    def evidence_per_kind(self) -> int:
        """Evidence photos per candidate and kind."""
        ...

    @property
    def digest(self) -> str:
        """Names its weights."""
        ...

    def judge(
        self,
        vector: Vector,
        kind: SourceKind | None,
        candidates: Sequence[Candidate],
        evidence: Mapping[UUID, Sequence[Evidence]],
        points: Sequence[IndexPoint],
    ) -> Judgement:
        """Scores, a null and refined places; the same for the same question, whoever else asks.

        Args:
            vector: Query `[D]`.
            kind: What sort of picture it is, where known.
            candidates: `[K]`, in any order.
            evidence: For candidates by id what stands near them, nearest first.
            points: The candidates as the index holds them, with vectors; in any order, and some
                may have gone.
        """
        ...


class Decoder(Protocol):
    """Reads hostile bytes in a limited child process."""

    def read(
        self, file: str, data: bytes | str, hint: Hint | None = None, *, query: bool = False
    ) -> Reading | Rejected:
        """Read one file.

        Args:
            file: Name for messages.
            data: The bytes, or a path.
            hint: What is known from outside.
            query: A photo to locate: no position is needed, none is reported, no thumbnail is made.
        """
        ...

    def close(self) -> None:
        """End the child process."""
        ...


class VectorIndex(Protocol):
    """The index over one contract; every write carries the row's version.

    Raises `IndexUnavailable` where the engine does not answer.
    """

    def info(self) -> IndexInfo:
        """What the index holds and which build it is."""
        ...

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            OtherContract: It is there, for another contract.
        """
        ...

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is.

        Args:
            points: What to write.
            contract: Digest of the bundle that made their vectors; None is for vectors that the
                index itself gave, or that were read for it.

        Raises:
            OtherContract: The index is for another contract; nothing is written.
        """
        ...

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        ...

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        ...

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id.

        Raises:
            OtherContract: A question's vector is of another contract than the index.
        """
        ...

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        ...

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list is the end."""
        ...

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        ...


class PointSource(Protocol):
    """PostgreSQL as the builder of an index sees it: every live, embedded image of one contract."""

    def spec(self) -> IndexSpec:
        """The contract and its vector widths."""
        ...

    def watermark(self) -> int:
        """A mark that rises with every change of a row; take it before `stream`."""
        ...

    def stream(self, since: int = 0, chunk: int = 512) -> Iterator[list[IndexPoint]]:
        """Points whose row changed at or after `since` (0: all), in chunks, with vectors."""
        ...

    def tombstones(self, since: int = 0) -> dict[UUID, int]:
        """Deleted rows that changed at or after `since`, with their version."""
        ...

    def bounds(self) -> tuple[int, int]:
        """Fewest and most live points of an index that holds all there is.

        Images that wait for the index may be in it already, or not yet.
        """
        ...


class BlobStore(Protocol):
    """Bytes under names of their own, apart for each organisation.

    A name belongs to one row, so nothing is shared, and deleting a row's bytes can hurt no other.
    """

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their locator."""
        ...

    def path(self, locator: str) -> str:
        """Path of a blob, or of a file kept by reference, for a decoder on the same machine.

        Raises:
            NotFound: Nothing under that locator.
        """
        ...

    def get(self, locator: str) -> bytes:
        """Read bytes back.

        Raises:
            NotFound: Nothing under that locator.
        """
        ...

    def delete(self, locator: str) -> None:
        """Remove bytes; removing what is not there is no error."""
        ...

    def old(self, older_than_s: float) -> Iterator[str]:
        """Locators of all blobs that were put longer ago than this."""
        ...

    def drop_halves(self, older_than_s: float) -> int:
        """Remove what a `put` that was killed has left; returns how many files."""
        ...

    def erase(self, organization_id: UUID) -> None:
        """Remove all bytes of an organisation; removing what is not there is no error."""
        ...


class JobQueue(Protocol):
    """Sends ids to workers."""

    def send(self, name: JobName, ids: Sequence[UUID] = ()) -> None:
        """Send one job.

        Raises:
            BrokerUnavailable: The broker did not take it within a few seconds.
        """
        ...

    def check(self) -> None:
        """Raise `BrokerUnavailable` unless the broker answers."""
        ...

    def waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        ...
