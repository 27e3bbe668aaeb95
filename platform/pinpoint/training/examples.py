"""What a reranker learns from: questions as the real search flow answers them, kept on disk.

    picture ─encoded→ vector ─retrieve→ candidates ─evened→ candidates, evidence ─written→ row
                       │                             └ other towns lose as much as the truth's
                       └ its own row, author, sequence and copies kept out

Rows name gallery photos; their vectors are fetched once, for all rows, from the index.
Letters: N questions, K candidates, U gallery photos, D width of vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinpoint.errors import BadPhoto, TooLarge
from pinpoint.evaluation.ahead import in_order
from pinpoint.evaluation.labels import Question
from pinpoint.evaluation.run import Parts, Plan, exclusions_for
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import EARTH_RADIUS_M, LatLon, lat_lon, unit_xyz
from pinpoint.media.checks import Refused
from pinpoint.media.files import read_bytes, sha256
from pinpoint.nets.rerank_inputs import Photos, Row, Shape, row_type, write_row
from pinpoint.ports import CatalogueReader
from pinpoint.records import GPS_CHANNEL, KINDS, Circle, Exclusions, Vector
from pinpoint.search import builds, evidence, exclude, pipeline, retrieve, vote
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.training.as_if import Gather, evened
from pinpoint.training.example_photos import photos_of
from pinpoint.training.feature_files import FeatureFiles, claim
from pinpoint.training.samples import Samples, texts
from pinpoint.training.seats import Seats

SUPPORT_M: Final = 25_000.0
"""The gallery supports a question if it holds an image this near to the truth."""
_FORMAT: Final = 4
_CHUNK: Final = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A question to learn from, and where its picture lies."""

    question: Question
    images: Path
    part: int = 0
    """Which of the sets of questions it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What is asked, and how far."""

    plan: Plan
    """Organisation and limits; what is excluded."""
    parts: Parts
    """Candidates as its search settings have them."""
    evidence_radius_m: float
    evidence_per_kind: int
    evened: bool
    """Whether other towns lose as much as the truth's (`as_if`): to learn from, not to measure."""
    at_once: int = 1
    """Questions asked at a time; changes no row."""

    @property
    def shape(self) -> Shape:
        """Room of a row."""
        return Shape(
            dim=self.parts.encoder.contract.dims["image"],
            candidates=self.parts.search.candidates,
            per_kind=self.evidence_per_kind,
        )

    def seats(self, candidates: int) -> Seats:
        """Seats of so many candidates, as the search gives them."""
        gps = GPS_CHANNEL in self.parts.encoder.contract.dims
        of_gps = retrieve.gps_seats(self.parts.search, candidates) if gps else 0
        return Seats(candidates=candidates, of_gps=of_gps)

    def said(self) -> dict[str, Any]:
        """What names the gallery and how it is searched."""
        info, limits = self.parts.index.info(), self.plan.limits
        return {
            "bundle": self.parts.encoder.contract.digest,
            "organization": str(self.plan.organization_id),
            "kinds": list(limits.kinds),
            "sources": [str(each) for each in limits.source_ids],
            "points": info.points,
            "search": self.parts.search.model_dump(),
            "evidence": [self.evidence_radius_m, self.evidence_per_kind],
            "evened": self.evened,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """All questions as rows, and the photos that they name."""

    rows: Row
    """`[N]` of `example_type`, memory-mapped; zeros where a picture cannot be read."""
    refused: Mapping[int, str]
    """Reason by row."""
    photos: Photos
    hidden: NDArray[np.bool_]
    """Candidates that training does not see, `[N, K]`."""
    seats: Seats | None = None
    """How many of them a question shows; None shows all."""

    def hiding(self, places: LatLon, radius_m: float) -> Examples:
        """The same, with every candidate hidden that stands within a radius of one of the places.

        Args:
            places: `[P, 2]` degrees.
            radius_m: Up to some hundred km.
        """
        reach = 2.0 * np.sin(radius_m / EARTH_RADIUS_M / 2.0)
        chords, _ = cKDTree(unit_xyz(places)).query(unit_xyz(self.rows["position"]))
        return replace(self, hidden=self.rows["present"] & (chords <= reach))


def example_type(shape: Shape) -> np.dtype[Any]:
    """A row of serving, and what is known of the truth; an even number of bytes."""
    fields = [(name, *_plain(row_type(shape)[name])) for name in row_type(shape).names or ()]
    fields += [("truth", "f8", 2), ("supported", "?", len(KINDS)), ("voted", "i2")]
    odd = np.dtype(fields).itemsize % 2
    return np.dtype([*fields, ("even", "u1", 1)] if odd else fields)


def _plain(field: np.dtype[Any]) -> tuple[Any, ...]:
    return field.subdtype if field.subdtype else (field, ())


def table_of(learners: Sequence[Learner], resolution: int) -> Samples:
    """The questions as a table, so that they are divided as pictures are."""
    asked = [each.question for each in learners]
    positions = lat_lon([one.truth for one in asked])
    files = [each.images / each.question.file for each in learners]
    return Samples(
        ids=texts([f"{one.part}/{one.question.file}" for one in learners]),
        files=texts([str(file) for file in files]),
        sizes=np.array([_size(file) for file in files], dtype=np.int64),
        lat=positions[:, 0].copy(),
        lon=positions[:, 1].copy(),
        kinds=texts([one.kind or "" for one in asked]),
        creators=texts([one.creator or "" for one in asked]),
        sequences=texts([one.sequence or "" for one in asked]),
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
        # Nothing is trained on their bytes: labels know none, and the whole picture is asked.
        hashes=texts([""] * len(asked)),
        faces=texts([""] * len(asked)),
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def cache_examples(
    folder: Path,
    learners: Sequence[Learner],
    table: Samples,
    gallery: Gallery,
    on_progress: Progress = lambda done, total: None,
) -> Examples:
    """Ask every question that has no row yet, and keep what came; a broken-off run goes on.

    Args:
        folder: Of the cache.
        learners: `[N]`.
        table: The same as `table_of` has them.
        gallery: What is asked.
        on_progress: Told questions done and questions in all.

    Raises:
        Conflict: The folder holds examples of something else, or another process writes there.
        BadBundle: The index holds vectors of another bundle.
        Unavailable: A part of the stack does not answer.
    """
    builds.fitting(gallery.parts.index, gallery.parts.encoder.contract)
    kind = example_type(gallery.shape)
    width = kind.itemsize // 2
    said = {
        "format": _FORMAT,
        "table": table.fingerprint(),
        "count": len(table),
        "width": width,
        **gallery.said(),
    }
    files = FeatureFiles(folder, len(table), width, claim(folder, said, _CHUNK))
    with files.writing() as writer:
        done = sum(len(files.rows(number)) for number in writer.done)
        on_progress(done, len(table))
        for number in [each for each in range(files.chunks) if each not in writer.done]:
            own = files.rows(number)
            rows = np.zeros(len(own), dtype=kind)
            refused: dict[int, str] = {}
            asked = ((rows[seat], learners[row]) for seat, row in enumerate(own))
            reasons = in_order(lambda one: _ask(*one, gallery), asked, gallery.at_once)
            for row, reason in zip(own, reasons, strict=True):
                if reason is not None:
                    refused[row] = reason
            # The bits as they are: this file of numbers holds rows.
            writer.write(number, rows.view(np.float16).reshape(len(own), width), refused)
            done += len(own)
            on_progress(done, len(table))
    values, refused_rows = files.read()
    found: Row = np.asarray(values).view(kind).reshape(len(table))
    return Examples(
        rows=found,
        refused=refused_rows,
        photos=photos_of(folder, found, gallery.shape.dim, gallery.parts),
        hidden=np.zeros(found["present"].shape, dtype=np.bool_),
    )


def _ask(row: Any, learner: Learner, gallery: Gallery) -> str | None:
    """Write one question's row, or say what is wrong with its picture."""
    question, plan, parts = learner.question, gallery.plan, gallery.parts
    try:
        data = read_bytes(learner.images / question.file, parts.max_bytes)
        vector = pipeline.encoded(
            data,
            file=question.file,
            kind=question.kind,
            decoder=parts.decoder,
            encoder=parts.encoder,
            watch=Stopwatch(),
        )
    except (Refused, BadPhoto, TooLarge) as error:
        return error.reason
    asked = exclusions_for(question, sha256(data), plan)
    exclusions = exclude.resolve(
        asked, organization_id=plan.organization_id, database=parts.database
    )
    find = partial(
        retrieve.candidates,
        vector,
        index=parts.index,
        organization_id=plan.organization_id,
        limits=plan.limits,
        settings=parts.search,
        exclusions=exclusions,
        gps=GPS_CHANNEL in parts.encoder.contract.dims,
    )
    _, (candidates, left) = builds.of_one_build(
        parts.index, parts.encoder.contract, lambda info: find(info=info)
    )
    out = left or exclusions
    with parts.database.read(plan.organization_id) as reader:
        gather = _gather(gallery, vector, reader)
        near = gather(candidates, exclusions=out)
        if gallery.evened:
            candidates, near = evened(
                question, candidates, near, asked=asked, out=out, reader=reader, gather=gather
            )
    write_row(row, vector, question.kind, candidates, near)
    row["truth"] = (question.truth.lat, question.truth.lon)
    row["supported"] = _supported(question, out, gallery)
    best = vote.rank(vector, candidates, near)[:1]
    row["voted"] = candidates.index(best[0].candidate) if best else -1
    return None


def _gather(gallery: Gallery, vector: Vector, reader: CatalogueReader) -> Gather:
    """How evidence is read for one question."""
    return partial(
        evidence.gather,
        vector=vector,
        reader=reader,
        contract=gallery.parts.encoder.contract.digest,
        limits=gallery.plan.limits,
        radius_m=gallery.evidence_radius_m,
        per_kind=gallery.evidence_per_kind,
    )


def _supported(question: Question, exclusions: Exclusions, gallery: Gallery) -> list[bool]:
    """For each kind, whether anything that may help stands near the truth."""
    limits, index = gallery.plan.limits, gallery.parts.index
    there = retrieve.where(
        gallery.plan.organization_id,
        replace(limits, circle=Circle(center=question.truth, radius_m=SUPPORT_M)),
        exclude_ids=exclusions.ids,
    )
    asked = limits.kinds or KINDS
    return [kind in asked and index.count(replace(there, kinds=(kind,))) > 0 for kind in KINDS]
