"""Load and write the reranker of a bundle, and implement the port `RerankerNetwork`.

A bundle with a reranker is the bundle it was trained for plus one file. Its vectors do not change,
so the index stays valid.
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
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import (
    Bundle,
    atomic_folder,
    file_sha256,
    read_bundle,
    require_absent,
)
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    RerankerPart,
    TrainingNote,
    contract_json,
    parse_contract,
)
from pinpoint.nets.bundle.specs import WeightsSpec
from pinpoint.nets.bundle.tensors import read_tensors
from pinpoint.nets.reranker.inputs import (
    EmbeddingTable,
    InputShape,
    attention_by_id,
    offset_positions,
    row_dtype,
    to_rerank_batch,
    write_row,
)
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.nets.runtime import choose_device
from pinpoint.records import (
    IMAGE_CHANNEL,
    Candidate,
    Evidence,
    IndexPoint,
    RerankOutput,
    SourceKind,
    Vector,
)

RERANKER_FILE: Final = "reranker.safetensors"


def load_reranker(bundle: Bundle) -> RerankerNetwork | None:
    """The reranker of a bundle, for inference, or None if it has none.

    Raises:
        BadBundleError: Its weights do not fit the contract.
    """
    part = bundle.contract.reranker
    if part is None or bundle.reranker is None:
        return None
    network, tensors = RerankerNetwork(part.network), read_tensors(bundle.reranker)
    state = network.state_dict()
    mismatched = sorted(
        {key for key in tensors if key not in state or tensors[key].shape != state[key].shape}
        | (set(state) - set(tensors))
    )
    if mismatched:
        more = f" and {len(mismatched) - 3} more" if len(mismatched) > 3 else ""
        raise BadBundleError(
            f"weights {bundle.reranker} do not fit the contract of {bundle.contract.name}: "
            f"{', '.join(mismatched[:3])}{more}"
        )
    network.load_state_dict(tensors)
    return network.requires_grad_(False).eval()


def write_reranked(  # noqa: PLR0913 - see long_functions.toml
    folder: Path,
    *,
    name: str,
    bundle: Bundle,
    network: RerankerNetwork,
    evidence_radius_m: float,
    evidence_per_kind: int,
    license: str,
    training: TrainingNote | None = None,
) -> Path:
    """Write a bundle that combines another bundle with a reranker.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        name: Shown in answers.
        bundle: The bundle that the reranker was trained for; an existing reranker is replaced.
        network: The reranker.
        evidence_radius_m: Maximum distance of evidence in training.
        evidence_per_kind: Maximum evidence images per candidate and kind in training.
        license: License of the trained weights.
        training: Describes their training.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The parts do not fit together.
    """
    require_absent(folder)
    if name == DESCRIPTOR_NAME or bundle.weights is None:
        raise BadBundleError(
            f"{DESCRIPTOR_NAME!r} is built in and has no folder, so it cannot have a reranker"
        )
    copied = [file for file in bundle.files if file != bundle.reranker]
    with atomic_folder(folder) as draft:
        for file in copied:
            shutil.copyfile(file, draft / file.name)
        tensors = {
            key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()
        }
        save_file(tensors, draft / RERANKER_FILE)
        digest = file_sha256(draft / RERANKER_FILE)
        part = RerankerPart(
            network=network.spec,
            weights=WeightsSpec(file=RERANKER_FILE, sha256=digest, license=license),
            evidence_radius_m=evidence_radius_m,
            evidence_per_kind=evidence_per_kind,
            training=training,
        )
        contract = _contract_with_reranker(bundle.contract, name, part)
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        load_reranker(read_bundle(draft))
    return folder


def _contract_with_reranker(
    contract: BundleContract, name: str, part: RerankerPart
) -> BundleContract:
    changed = replace(contract, name=name, reranker=part, code_version=__version__)
    # Parse it like a reader, so that an invalid contract is refused before it is written.
    return parse_contract(contract_json(changed), name)


def open_reranker(bundle: Bundle, candidates: int, device: str) -> BundleReranker | None:
    """The reranker of a bundle, loaded and warmed up, or None if it has none.

    Args:
        bundle: A bundle that was read.
        candidates: Maximum number of candidates of a query.
        device: Device name for `runtime.choose_device`.

    Raises:
        BadBundleError: Its weights do not fit the contract.
        ConfigurationError: The device does not exist.
    """
    if bundle.contract.reranker is None:
        return None
    return BundleReranker(bundle, candidates=candidates, device=choose_device(device))


class BundleReranker:
    """The reranker of a bundle; implements the port `RerankerNetwork`. Thread-safe.

    Args:
        bundle: A bundle with a reranker.
        candidates: Maximum number of candidates of a query.
        device: Device of the forward pass.
    """

    def __init__(self, bundle: Bundle, *, candidates: int, device: torch.device) -> None:
        network = load_reranker(bundle)
        if network is None or bundle.contract.reranker is None:
            raise BadBundleError(f"bundle {bundle.contract.name} has no reranker")
        self.part = bundle.contract.reranker
        self._name = bundle.contract.name
        self._network = network.to(device)
        self._device = device
        dim = self.part.network.dim
        self._shape = InputShape(
            dim=dim, candidates=candidates, per_kind=self.part.evidence_per_kind
        )
        self._row_dtype = row_dtype(self._shape)
        self._query_lock = threading.Lock()
        # Warm-up: select kernels and allocate memory now, not during the first query.
        self.rerank(np.zeros(dim, dtype=np.float32), None, (), {}, ())

    @property
    def evidence_radius_m(self) -> float:
        """Maximum distance of evidence, as in training."""
        return self.part.evidence_radius_m

    @property
    def evidence_per_kind(self) -> int:
        """Maximum evidence images per candidate and kind."""
        return self.part.evidence_per_kind

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return self.part.weights.sha256

    def rerank(
        self,
        vector: Vector,
        kind: SourceKind | None,
        candidates: Sequence[Candidate],
        evidence: Mapping[UUID, Sequence[Evidence]],
        points: Sequence[IndexPoint],
    ) -> RerankOutput:
        """Scores, no-match logit and refined positions, bit-equal at every call.

        Queries are reranked one by one and padded to one shape, which fixes the summation order of
        the kernels. A candidate without vectors gets the lowest score.

        Raises:
            BadBundleError: The weights give a score that is not finite.
        """
        row = np.zeros(1, dtype=self._row_dtype)
        write_row(row[0], vector, kind, candidates, evidence)
        vectors: dict[UUID, Mapping[str, Vector]] = {
            photo.id: {IMAGE_CHANNEL: photo.vector}
            for photos in evidence.values()
            for photo in photos
        }
        vectors |= {point.id: point.vectors for point in points}
        batch = to_rerank_batch(row, EmbeddingTable.of(vectors, self._shape.dim, np.float32)).to(
            self._device
        )
        with self._query_lock, torch.inference_mode():
            output = self._network(batch)
        count = len(candidates)
        scores, null = output.logits[0, :count].cpu(), float(output.no_match_logit[0])
        present = batch.present[0, :count].cpu()
        if not bool(torch.isfinite(scores[present]).all()) or not np.isfinite(null):
            raise BadBundleError(
                f"the reranker of bundle {self._name} gives no finite score; it cannot be used",
                reason="vector_not_finite",
            )
        lowest = float(scores[present].min()) if bool(present.any()) else null
        offset_km = output.offset_km[0, :count].cpu().numpy().astype(np.float64)
        return RerankOutput(
            logits=tuple(torch.where(present, scores, lowest).tolist()),
            no_match_logit=null,
            refined_positions=tuple(offset_positions(row["position"][0, :count], offset_km)),
            attention=attention_by_id(
                row["evidence_id"][0, :count], output.attention[0, :count].cpu().numpy()
            ),
        )
