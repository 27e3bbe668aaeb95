"""The files of GeoCLIP's package: its weights and its gallery of 100,000 places.

They lie in the package `geoclip` on PyPI (MIT; https://github.com/VicenteVivan/geo-clip), which is
neither imported nor needed: its files are read, and refused unless they are the ones known here.
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

from pinpoint.errors import BadBundle, Unavailable

VERSION: Final = "1.3.0"
"""The release whose files are known; 1.2.0 shipped the same four."""
LICENCE: Final = "MIT, Copyright (c) 2024 Vicente Vivanco"


@dataclass(frozen=True, slots=True)
class _File:
    """What a file must be; its path is below the package's folder `model`."""

    path: str
    size_bytes: int
    sha256: str


_PLACES = _File(
    "gps_gallery/coordinates_100K.csv",
    2_024_065,
    "3a00b1ba58f13443db726533b6399b39609e292df09d4e58792fa5949d1838b1",
)
_LOCATION = _File(
    "weights/location_encoder_weights.pth",
    37_806_041,
    "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
)
_IMAGE = _File(
    "weights/image_encoder_mlp_weights.pth",
    3_938_907,
    "5342c391eec961796d04d02f2bd670bfa97b34ce32c656d0e0676581103c2c14",
)
_LOGIT_SCALE = _File(
    "weights/logit_scale_weights.pth",
    759,
    "9568e2e09dd19083082bf285b2c0c126867e40dbd275a8ee8c621888b861904e",
)


def read_geoclip(source: Path | None = None) -> dict[str, torch.Tensor]:
    """The weights, named as `build_geoclip` takes them and ready to be saved as safetensors.

    Args:
        source: A wheel of `geoclip`, or a folder with its files: an unpacked wheel, the package, or
            its folder `model`. Without one, the installed package, which is not imported.

    Raises:
        Unavailable: The package is not installed, or nothing is at `source`.
        BadBundle: A file is missing there, or is not the one known.
    """
    place = _find(source)
    tensors = {"logit_scale": _load(place, _LOGIT_SCALE)}
    for name, tensor in _load(place, _IMAGE).items():
        tensors[f"image.layers.{name}"] = tensor
    for name, tensor in _load(place, _LOCATION).items():
        branch, part, layer, kind = name.removeprefix("LocEnc").split(".")
        # The encoding is layer 0 of their `capsule`, and the last layer is their `head`.
        own = f"layers.6.{kind}" if part == "head" else f"layers.{int(layer) - 1}.{kind}"
        own = "frequencies" if kind == "b" else own
        tensors[f"location.branches.{branch}.{own}"] = tensor
    return tensors


def gallery_places(source: Path | None = None) -> NDArray[np.float64]:
    """GeoCLIP's gallery `[100000, 2]`: lat, lon in degrees, in the file's order.

    5,877 of them repeat an earlier one.

    Args:
        source: As of `read_geoclip`.

    Raises:
        Unavailable: As `read_geoclip`.
        BadBundle: As `read_geoclip`.
    """
    text = io.BytesIO(_read(_find(source), _PLACES))
    return np.loadtxt(text, delimiter=",", skiprows=1, dtype=np.float64)


def _find(source: Path | None) -> Path:
    """The wheel, or the folder whose file paths begin with `weights/` and `gps_gallery/`."""
    if source is None:
        # Of a name without a dot nothing is imported.
        spec = importlib.util.find_spec("geoclip")
        if spec is None or not spec.submodule_search_locations:
            raise Unavailable(
                f"the package geoclip is not installed: `pip install --no-deps geoclip=={VERSION}`."
                f" On a machine without a network, fetch it elsewhere (`pip download --no-deps"
                f" geoclip=={VERSION}`, 40 MB) and name the wheel",
                reason="weights_unavailable",
            )
        source = Path(next(iter(spec.submodule_search_locations)))
    if not source.exists():
        raise Unavailable(
            f"{source} does not exist; name a wheel of geoclip {VERSION} or a folder with its files"
            f" (`pip download --no-deps geoclip=={VERSION}` fetches the wheel)",
            reason="weights_unavailable",
        )
    folders = (source / "geoclip" / "model", source / "model")
    return next((folder for folder in folders if folder.is_dir()), source)


def _read(place: Path, file: _File) -> bytes:
    """The bytes of a file, if they are the known ones; never more of them than these.

    Raises:
        BadBundle: The file is missing, cannot be read, or is another one.
    """
    try:
        if place.is_file():
            with (
                zipfile.ZipFile(place) as wheel,
                wheel.open(f"geoclip/model/{file.path}") as member,
            ):
                data = member.read(file.size_bytes + 1)
        else:
            with (place / file.path).open("rb") as stream:
                data = stream.read(file.size_bytes + 1)
    # RuntimeError: a zip that is encrypted or packed in an unknown way.
    except (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadBundle(f"{place} is not geoclip {VERSION}: {file.path}: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise BadBundle(
            f"{file.path} of {place} is not that of geoclip {VERSION}: its first"
            f" {len(data):,} bytes have SHA-256 {found}, known are {file.size_bytes:,} bytes of"
            f" {file.sha256}. Install or fetch that release again."
        )
    return data


def _load(place: Path, file: _File) -> Any:
    """What a file of weights holds: tensors and containers of them; no code is run."""
    return torch.load(io.BytesIO(_read(place, file)), map_location="cpu", weights_only=True)
