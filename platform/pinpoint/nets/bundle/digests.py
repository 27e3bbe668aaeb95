"""Digest that identifies a bundle's vectors, and the contract record for the other packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter

from pinpoint.nets.bundle.calibrations import require_fit
from pinpoint.nets.bundle.contract import BundleContract, Preprocess, contract_json
from pinpoint.records import Calibration, Contract

_VECTOR_CODE: Final = 1
"""Incremented whenever this code computes other vectors from the same contract and weights."""


def digest(contract: BundleContract, rendition_px: int) -> str:
    """SHA-256 (64 hex digits) over canonical JSON of exactly the values that determine vectors.

    Args:
        contract: The bundle's contract; its name, note, license and tag are not hashed.
        rendition_px: Shorter side of the renditions that are encoded.
    """
    fields: dict[str, Any] = json.loads(contract_json(contract))
    hash_input = {
        "code": _VECTOR_CODE,
        "tower": {key: fields["tower"][key] for key in ("library", "name", "arguments")},
        "weights": None if contract.weights is None else contract.weights.sha256,
        "preprocess": fields["preprocess"],
        "dims": fields["dims"],
        "normalization": fields["normalization"],
        "heads": _heads_hash_input(fields["heads"]),
        "rendition_px": rendition_px,
    }
    if contract.aggregation is not None:  # Absent otherwise: it is younger than the digest.
        hash_input["aggregation"] = _aggregation_hash_input(fields["aggregation"])
    text = json.dumps(hash_input, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def preprocess_digest(preprocess: Preprocess, rendition_px: int) -> str:
    """SHA-256 (64 hex digits) of the preprocessing, independent of the tower."""
    fields = TypeAdapter(Preprocess).dump_python(preprocess, mode="json")
    hash_input = {"code": _VECTOR_CODE, "preprocess": fields, "rendition_px": rendition_px}
    text = json.dumps(hash_input, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _heads_hash_input(heads: dict[str, Any] | None) -> object:
    """Hash input of the heads; `[]` without heads."""
    if heads is None:
        return []
    shapes = {key: heads[key] for key in ("image", "location")}
    return {**shapes, "weights": heads["weights"]["sha256"]}


def _aggregation_hash_input(aggregation: dict[str, Any]) -> object:
    """Hash input of the aggregation, without provenance and license."""
    shapes = {k: value for k, value in aggregation.items() if k not in ("weights", "vocabulary")}
    weights = aggregation["weights"]
    return {**shapes, "weights": weights and weights["sha256"]}


def public_contract(
    contract: BundleContract,
    rendition_px: int,
    calibrations: Mapping[str, Calibration] = MappingProxyType({}),
) -> Contract:
    """The contract record for the other packages, with the calibrations of the bundle.

    Raises:
        BadBundleError: A calibration was fitted on another contract or reranker.
    """
    contract_digest = digest(contract, rendition_px)
    reranker = contract.reranker
    require_fit(
        calibrations, contract_digest, None if reranker is None else reranker.weights.sha256
    )
    return Contract(
        name=contract.name,
        digest=contract_digest,
        tower=str(contract.tower),
        dims={str(name): width for name, width in contract.dims.items()},
        rendition_px=rendition_px,
        calibrated=bool(calibrations),
        note=contract.note,
        calibrations=calibrations,
    )
