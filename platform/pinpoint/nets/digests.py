"""The digest that names a bundle's vectors, and the contract as the rest of the house sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter

from pinpoint.nets.calibrations import check_fits
from pinpoint.nets.contract import BundleContract, Preprocess, contract_json
from pinpoint.records import Calibration, Contract

_VECTOR_CODE: Final = 1
"""Raised whenever the same contract and weights would give other vectors by this code."""


def digest(contract: BundleContract, rendition_px: int) -> str:
    """SHA-256 (64 hex digits) over canonical JSON of all that determines vectors, and nothing else.

    Args:
        contract: The bundle's contract; its name, note, licence and tag do not count.
        rendition_px: Shorter side of the renditions the vectors are made from.
    """
    plain: dict[str, Any] = json.loads(contract_json(contract))
    determining = {
        "code": _VECTOR_CODE,
        "tower": {key: plain["tower"][key] for key in ("library", "name", "arguments")},
        "weights": None if contract.weights is None else contract.weights.sha256,
        "preprocess": plain["preprocess"],
        "dims": plain["dims"],
        "normalisation": plain["normalisation"],
        "heads": _determining(plain["heads"]),
        "rendition_px": rendition_px,
    }
    text = json.dumps(determining, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def preprocess_digest(preprocess: Preprocess, rendition_px: int) -> str:
    """SHA-256 (64 hex digits) of how pictures come before a tower, whichever tower it is."""
    plain = TypeAdapter(Preprocess).dump_python(preprocess, mode="json")
    said = {"code": _VECTOR_CODE, "preprocess": plain, "rendition_px": rendition_px}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _determining(heads: dict[str, Any] | None) -> object:
    """Of the networks behind the tower; `[]` for none, as it was before there were any."""
    if heads is None:
        return []
    shapes = {key: heads[key] for key in ("image", "location")}
    return {**shapes, "weights": heads["weights"]["sha256"]}


def public_contract(
    contract: BundleContract,
    rendition_px: int,
    calibrations: Mapping[str, Calibration] = MappingProxyType({}),
) -> Contract:
    """The contract as the rest of the house sees it, with the calibrations that lie beside it.

    Raises:
        BadBundle: A calibration was fitted on another contract or reranker.
    """
    named = digest(contract, rendition_px)
    reranker = contract.reranker
    check_fits(calibrations, named, None if reranker is None else reranker.weights.sha256)
    return Contract(
        name=contract.name,
        digest=named,
        tower=str(contract.tower),
        dims={str(name): width for name, width in contract.dims.items()},
        rendition_px=rendition_px,
        calibrated=bool(calibrations),
        note=contract.note,
        calibrations=calibrations,
    )
