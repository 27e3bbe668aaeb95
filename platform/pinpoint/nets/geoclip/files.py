"""Files of the GeoCLIP package: its weights and its gallery of 100,000 coordinates.

They are part of the package `geoclip` on PyPI (MIT; https://github.com/VicenteVivan/geo-clip). The
package is never imported: only its files are read, and their SHA-256 must match.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.errors import BadBundleError, UnavailableError, describe_cause

GEOCLIP_VERSION: Final = "1.3.0"
"""Release of the known files; 1.2.0 shipped the same four files."""
GEOCLIP_LICENSE: Final = "MIT, Copyright (c) 2024 Vicente Vivanco"


@dataclass(frozen=True, slots=True)
class _KnownFile:
    """Expected path, size and digest of a file; the path is relative to the folder `model`."""

    path: str
    size_bytes: int
    sha256: str


_GALLERY_CSV = _KnownFile(
    "gps_gallery/coordinates_100K.csv",
    2_024_065,
    "3a00b1ba58f13443db726533b6399b39609e292df09d4e58792fa5949d1838b1",
)
_LOCATION_WEIGHTS = _KnownFile(
    "weights/location_encoder_weights.pth",
    37_806_041,
    "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
)
_IMAGE_WEIGHTS = _KnownFile(
    "weights/image_encoder_mlp_weights.pth",
    3_938_907,
    "5342c391eec961796d04d02f2bd670bfa97b34ce32c656d0e0676581103c2c14",
)
_LOGIT_SCALE_WEIGHTS = _KnownFile(
    "weights/logit_scale_weights.pth",
    759,
    "9568e2e09dd19083082bf285b2c0c126867e40dbd275a8ee8c621888b861904e",
)


def read_geoclip(source: Path | None = None) -> dict[str, torch.Tensor]:
    """The weights, with the names that `build_geoclip` expects, ready to be saved as safetensors.

    Args:
        source: A wheel of `geoclip`, or a folder with its files: an unpacked wheel, the package, or
            its folder `model`. Default: the installed package, which is not imported.

    Raises:
        UnavailableError: The package is not installed, or `source` does not exist.
        BadBundleError: A file is missing or differs from the known one.
    """
    package = _find_package(source)
    tensors = {"logit_scale": _load_weights(package, _LOGIT_SCALE_WEIGHTS)}
    for name, tensor in _load_weights(package, _IMAGE_WEIGHTS).items():
        tensors[f"image.layers.{name}"] = tensor
    for name, tensor in _load_weights(package, _LOCATION_WEIGHTS).items():
        branch, module, layer, kind = name.removeprefix("LocEnc").split(".")
        # In the published state, layer 0 of `capsule` is the encoding and `head` the last layer.
        key = f"layers.6.{kind}" if module == "head" else f"layers.{int(layer) - 1}.{kind}"
        key = "frequencies" if kind == "b" else key
        tensors[f"location.branches.{branch}.{key}"] = tensor
    return tensors


def gallery_coordinates(source: Path | None = None) -> NDArray[np.float64]:
    """GeoCLIP's gallery `[100000, 2]`: lat, lon in degrees, in file order.

    5,877 rows repeat an earlier row.

    Args:
        source: As for `read_geoclip`.

    Raises:
        UnavailableError: As `read_geoclip`.
        BadBundleError: As `read_geoclip`.
    """
    text = io.BytesIO(_read_file(_find_package(source), _GALLERY_CSV))
    return np.loadtxt(text, delimiter=",", skiprows=1, dtype=np.float64)


def _find_package(source: Path | None) -> Path:
    """The wheel, or the folder that contains `weights/` and `gps_gallery/`."""
    if source is None:
        # `find_spec` imports nothing for a name without a dot.
        spec = importlib.util.find_spec("geoclip")
        if spec is None or not spec.submodule_search_locations:
            raise UnavailableError(
                f"the package geoclip is not installed: `pip install --no-deps "
                f"geoclip=={GEOCLIP_VERSION}`."
                f" Without network access, download it elsewhere (`pip download --no-deps"
                f" geoclip=={GEOCLIP_VERSION}`, 40 MB) and pass the path of the wheel",
                reason="weights_unavailable",
            )
        source = Path(next(iter(spec.submodule_search_locations)))
    if not source.exists():
        raise UnavailableError(
            f"{source} does not exist; name a wheel of geoclip {GEOCLIP_VERSION} or a folder "
            f"with its files"
            f" (`pip download --no-deps geoclip=={GEOCLIP_VERSION}` fetches the wheel)",
            reason="weights_unavailable",
        )
    folders = (source / "geoclip" / "model", source / "model")
    return next((folder for folder in folders if folder.is_dir()), source)


def _read_file(package: Path, file: _KnownFile) -> bytes:
    """The bytes of a file after checking its digest; reads at most one byte beyond its size.

    Raises:
        BadBundleError: The file is missing, cannot be read, or differs from the known one.
    """
    try:
        if package.is_file():
            with (
                zipfile.ZipFile(package) as wheel,
                wheel.open(f"geoclip/model/{file.path}") as member,
            ):
                data = member.read(file.size_bytes + 1)
        else:
            with (package / file.path).open("rb") as stream:
                data = stream.read(file.size_bytes + 1)
    # RuntimeError: the zip is encrypted or uses an unknown compression.
    except (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadBundleError(
            f"{package} is not geoclip {GEOCLIP_VERSION}: {file.path}: {describe_cause(error)}"
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != file.sha256:
        raise BadBundleError(
            f"{file.path} of {package} is not that of geoclip {GEOCLIP_VERSION}: its first"
            f" {len(data):,} bytes have SHA-256 {sha256}; expected are {file.size_bytes:,} bytes"
            f" with {file.sha256}. Install or download that release again."
        )
    return data


def _load_weights(package: Path, file: _KnownFile) -> Any:
    """Content of a weights file: tensors and containers of them; no code is run."""
    return torch.load(io.BytesIO(_read_file(package, file)), map_location="cpu", weights_only=True)
