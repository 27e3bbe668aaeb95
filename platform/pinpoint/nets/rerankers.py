"""Rerankers out of bundles and into them, and the port that serves one.

A bundle with a reranker is the bundle it was trained for and one more file: its vectors stay what
they were, and so does the index.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import torch
from safetensors.torch import save_file

from pinpoint import __version__
from pinpoint.errors import BadBundle
from pinpoint.nets.bundles import Bundle, check_new, file_sha256, read_bundle, whole_folder
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    RerankerPart,
    TrainingNote,
    WeightsSpec,
    contract_json,
    parse_contract,
)
from pinpoint.nets.rerank_inputs import (
    Photos,
    Shape,
    asked,
    moved,
    photos_by_id,
    row_type,
    write_row,
)
from pinpoint.nets.reranker import Reranker
from pinpoint.nets.runtime import choose_device
from pinpoint.nets.tensors import read_tensors
from pinpoint.records import IMAGE_CHANNEL, Candidate, Evidence, IndexPoint, Judgement, SourceKind
from pinpoint.records import Vector as Vectors

RERANKER_FILE: Final = "reranker.safetensors"


def load_reranker(bundle: Bundle) -> Reranker | None:
    """The reranker of a bundle, for inference, or None where it has none.

    Raises:
        BadBundle: Its weights do not fit.
    """
    part = bundle.contract.reranker
    if part is None or bundle.reranker is None:
        return None
    network, found = Reranker(part.network), read_tensors(bundle.reranker)
    wanted = network.state_dict()
    wrong = sorted(
        {key for key in found if key not in wanted or found[key].shape != wanted[key].shape}
        | (set(wanted) - set(found))
    )
    if wrong:
        raise BadBundle(
            f"weights {bundle.reranker} do not fit the contract of {bundle.contract.name}: "
            f"{', '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
        )
    network.load_state_dict(found)
    return network.requires_grad_(False).eval()


def write_reranked(
    folder: Path,
    *,
    name: str,
    bundle: Bundle,
    network: Reranker,
    evidence_radius_m: float,
    evidence_per_kind: int,
    licence: str,
    training: TrainingNote | None = None,
) -> Path:
    """Make a bundle of another one and a reranker of its candidates.

    Args:
        folder: Where; it must not exist yet. It appears whole or not at all.
        name: Shown in answers.
        bundle: What the reranker was trained for; one that it has already is left out.
        network: The reranker.
        evidence_radius_m: How far evidence stood in training.
        evidence_per_kind: How much of it there was for each candidate and kind.
        licence: Of the trained weights.
        training: What they were trained on.

    Returns:
        `folder`.

    Raises:
        Conflict: The folder exists.
        BadBundle: The parts do not fit together.
    """
    check_new(folder)
    if name == DESCRIPTOR_NAME or bundle.weights is None:
        raise BadBundle(f"{DESCRIPTOR_NAME!r} is built in: it has no bundle to hold a reranker")
    kept = [file for file in (bundle.weights, bundle.heads) if file is not None]
    with whole_folder(folder) as draft:
        for file in kept:
            shutil.copyfile(file, draft / file.name)
        tensors = {
            key: each.detach().cpu().contiguous() for key, each in network.state_dict().items()
        }
        save_file(tensors, draft / RERANKER_FILE)
        digest = file_sha256(draft / RERANKER_FILE)
        part = RerankerPart(
            network=network.spec,
            weights=WeightsSpec(file=RERANKER_FILE, sha256=digest, licence=licence),
            evidence_radius_m=evidence_radius_m,
            evidence_per_kind=evidence_per_kind,
            training=training,
        )
        made = _with(bundle.contract, name, part)
        (draft / CONTRACT_FILE).write_bytes(contract_json(made))
        load_reranker(read_bundle(draft))
    return folder


def _with(contract: BundleContract, name: str, part: RerankerPart) -> BundleContract:
    made = replace(contract, name=name, reranker=part, code_version=__version__)
    # Read back as any reader will: what it would refuse is refused before it is written.
    return parse_contract(contract_json(made), name)


def open_reranker(bundle: Bundle, candidates: int, device: str) -> BundleReranker | None:
    """The reranker of a bundle, loaded and warm, or None where it has none.

    Args:
        bundle: As read.
        candidates: Most candidates of a question.
        device: As `runtime.choose_device` takes it.

    Raises:
        BadBundle: Its weights do not fit.
        Misconfigured: There is no such device.
    """
    if bundle.contract.reranker is None:
        return None
    return BundleReranker(bundle, candidates=candidates, device=choose_device(device))


class BundleReranker:
    """The reranker of a bundle; answers the port `Reranker`. Safe to share among threads.

    Args:
        bundle: Has a reranker.
        candidates: Most candidates of a question.
        device: Where it computes.
    """

    def __init__(self, bundle: Bundle, *, candidates: int, device: torch.device) -> None:
        network = load_reranker(bundle)
        if network is None or bundle.contract.reranker is None:
            raise BadBundle(f"bundle {bundle.contract.name} has no reranker")
        self.part = bundle.contract.reranker
        self._name = bundle.contract.name
        self._network = network.to(device)
        self._device = device
        dim = self.part.network.dim
        self._shape = Shape(dim=dim, candidates=candidates, per_kind=self.part.evidence_per_kind)
        self._type = row_type(self._shape)
        self._one_question = threading.Lock()
        # Kernels are chosen and memory is taken now, not while the first caller waits.
        self.judge(np.zeros(dim, dtype=np.float32), None, (), {}, ())

    @property
    def evidence_radius_m(self) -> float:
        """How far evidence may stand, as it did in training."""
        return self.part.evidence_radius_m

    @property
    def evidence_per_kind(self) -> int:
        """Evidence photos per candidate and kind."""
        return self.part.evidence_per_kind

    @property
    def digest(self) -> str:
        """SHA-256 of its weights."""
        return self.part.weights.sha256

    def judge(
        self,
        vector: Vectors,
        kind: SourceKind | None,
        candidates: Sequence[Candidate],
        evidence: Mapping[UUID, Sequence[Evidence]],
        points: Sequence[IndexPoint],
    ) -> Judgement:
        """Scores, a null and refined places, bit-equal at every call.

        Questions are judged one by one, padded to one shape: so the order in which a kernel adds up
        is always the same. A candidate whose vectors have gone keeps no score but the least one.

        Raises:
            BadBundle: The weights give a score that is not finite.
        """
        row = np.zeros(1, dtype=self._type)
        write_row(row[0], vector, kind, candidates, evidence)
        vectors: dict[UUID, Mapping[str, Vectors]] = {
            photo.id: {IMAGE_CHANNEL: photo.vector} for own in evidence.values() for photo in own
        }
        vectors |= {each.id: each.vectors for each in points}
        given = asked(row, Photos.of(vectors, self._shape.dim, np.float32)).to(self._device)
        with self._one_question, torch.inference_mode():
            said = self._network(given)
        count = len(candidates)
        scores, null = said.scores[0, :count].cpu(), float(said.null[0])
        known = given.present[0, :count].cpu()
        if not bool(torch.isfinite(scores[known]).all()) or not np.isfinite(null):
            raise BadBundle(
                f"the reranker of bundle {self._name} gives no finite score; it cannot be used",
                reason="vector_not_finite",
            )
        least = float(scores[known].min()) if bool(known.any()) else null
        offset_km = said.offset_km[0, :count].cpu().numpy().astype(np.float64)
        return Judgement(
            scores=tuple(torch.where(known, scores, least).tolist()),
            null=null,
            refined=tuple(moved(row["position"][0, :count], offset_km)),
            heard=photos_by_id(row["near_id"][0, :count], said.heard[0, :count].cpu().numpy()),
        )
