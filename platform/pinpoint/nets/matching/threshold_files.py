"""Verification thresholds of galleries: one JSON file for each organization, with a digest.

A threshold holds for one matcher: other settings or another release of OpenCV give other inliers.
It does not depend on the contract, because verification reads pixels and not vectors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from pinpoint import logs
from pinpoint.atomic_files import write_atomic
from pinpoint.records import VerificationCalibration, VerificationThreshold

_FORMAT: Final = 1
_ADAPTER: Final = TypeAdapter(VerificationCalibration)

_log = logs.get_logger(__name__)


def write_threshold(folder: Path, calibration: VerificationCalibration) -> Path:
    """Write the threshold of an organization's gallery; an older file is replaced atomically."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fields = _ADAPTER.dump_python(calibration, mode="json")
    document = {"format": _FORMAT, "digest": _fields_digest(fields), "calibration": fields}
    path = _path_of(folder, calibration.organization_id)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n", durable=True)
    return path


def read_threshold(
    folder: Path, organization_id: UUID, matcher_digest: str
) -> VerificationThreshold:
    """Threshold of an organization's gallery.

    The conservative default, marked as not calibrated, is used if there is no file, or if it is
    damaged or of another matcher; the latter two are logged.

    Args:
        folder: Folder of thresholds.
        organization_id: Organization of the gallery.
        matcher_digest: Digest of the matcher in use.
    """
    path = _path_of(folder, organization_id)
    try:
        document = json.loads(path.read_bytes())
        fields = document["calibration"]
        if document["format"] != _FORMAT or document["digest"] != _fields_digest(fields):
            raise ValueError("another format, or changed after it was written")
        calibration = _ADAPTER.validate_python(fields)
    except FileNotFoundError:
        return VerificationThreshold()
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        _log.warning("verification threshold not used", file=str(path), detail=str(error)[:300])
        return VerificationThreshold()
    if (calibration.organization_id, calibration.threshold.matcher_digest) != (
        organization_id,
        matcher_digest,
    ):
        detail = "measured on another gallery or with another matcher"
        _log.warning("verification threshold not used", file=str(path), detail=detail)
        return VerificationThreshold()
    return calibration.threshold


def set_reordering(
    folder: Path, organization_id: UUID, matcher_digest: str, *, reorders: bool
) -> bool:
    """Store whether verified candidates come first; returns whether there is a calibrated file.

    Args:
        folder: Folder of thresholds.
        organization_id: Organization of the gallery.
        matcher_digest: Digest of the matcher in use.
        reorders: Whether verified candidates come first.
    """
    threshold = read_threshold(folder, organization_id, matcher_digest)
    if not threshold.calibrated:
        return False
    document = json.loads(_path_of(folder, organization_id).read_bytes())
    calibration = _ADAPTER.validate_python(document["calibration"])
    threshold = replace(threshold, reorders_candidates=reorders)
    write_threshold(folder, replace(calibration, threshold=threshold))
    return True


def _path_of(folder: Path, organization_id: UUID) -> Path:
    return folder / f"{organization_id}.json"


def _fields_digest(fields: Any) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
