"""Embedder: images to unit vectors. A vector does not depend on the rest of the batch.

Letters: B images or positions, H and W pixels, D vector width.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinpoint.errors import BadBundleError, ConflictError, UnsupportedQueryError
from pinpoint.nets.bundle.contract import Preprocess
from pinpoint.nets.embedder.coordinate_lists import CoordinateList
from pinpoint.nets.towers.preprocess import preprocess_images
from pinpoint.nets.towers.text_encoder import TextEncoder
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    RAW_CHANNEL,
    Contract,
    CoordinateGallery,
    Pixels,
    SourceKind,
    Vector,
)

_POSITIONS_PER_PASS: Final = 4_096
"""Positions are small compared to the weights: fewer passes read the weights less often."""


class Embedder:
    """A tower with its preprocessing; implements the port `Encoder`. Thread-safe.

    Args:
        tower: Maps `[B, 3, S, S]` to `[B, F]`; in inference mode, on `device`, fp32.
        heads: Maps `[B, F]` and a kind per row to `[B, D]`. Without heads, F is D.
        location: Maps positions `[B, 2]` to `[B, D]`, if the contract has the channel `gps`.
        text: Text encoder of the tower, if it has one.
        coordinates: Coordinates to search without a gallery; only with `location`.
        contract: Describes the vectors.
        preprocess: Preprocessing of the tower.
        device: Device of the forward pass.
        batch: Maximum number of images in one forward pass.
    """

    def __init__(  # noqa: PLR0913 - see long_functions.toml
        self,
        tower: nn.Module,
        *,
        heads: nn.Module | None = None,
        location: nn.Module | None = None,
        coordinates: CoordinateList | None = None,
        text: TextEncoder | None = None,
        contract: Contract,
        preprocess: Preprocess,
        device: torch.device,
        batch: int,
    ) -> None:
        self._tower = tower
        self._heads = heads
        self._location = location
        self._coordinates = coordinates
        self._text = text
        self._coordinate_gallery: CoordinateGallery | None = None
        self._contract = contract
        self._preprocess = preprocess
        self._device = device
        self._batch = batch
        self._query_lock = threading.Lock()
        self._coordinates_lock = threading.Lock()

    @property
    def contract(self) -> Contract:
        """Contract of the loaded bundle."""
        return self._contract

    @property
    def device(self) -> torch.device:
        """Device of the forward pass."""
        return self._device

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """The vectors `[B, D]` of the channel `image` (`encode_channels`)."""
        return self.encode_channels(images, kind)[IMAGE_CHANNEL]

    def encode_channels(
        self, images: Sequence[Pixels], kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Images `[H, W, 3]` uint8, of any sizes, to fp32 unit vectors `[B, D]` by channel.

        The channel `image` is always present, `raw` if the contract has it; both come from one
        forward pass.

        Args:
            images: The renditions; an empty sequence gives `[0, D]`.
            kind: Source kind; selects the adapter, if the bundle has adapters.

        Raises:
            ValueError: An image is not `[H, W, 3]` uint8.
            BadBundleError: The weights give a vector that is not finite or has zero length.
        """
        vectors: dict[str, Vector] = {
            channel: np.empty((len(images), width), dtype=np.float32)
            for channel, width in self._contract.dims.items()
            if channel != GPS_CHANNEL
        }
        for start in range(0, len(images), self._batch):
            block = slice(start, start + self._batch)
            for channel, rows in self._embed_images(images[block], kind, first=start).items():
                vectors[channel][block] = rows
        return vectors

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """The vector `[D]` of the channel `image` (`encode_query_channels`)."""
        return self.encode_query_channels(image, kind)[IMAGE_CHANNEL]

    def encode_query_channels(
        self, image: Pixels, kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """One image to one vector `[D]` by channel, bit-equal at every call.

        Queries are computed one by one, so the batch shape is constant. This fixes the summation
        order of the kernels on every device.

        Raises:
            ValueError: The image is not `[H, W, 3]` uint8.
            BadBundleError: The weights give a vector that is not finite or has zero length.
        """
        with self._query_lock:
            vectors = self._embed_images([image], kind, first=0)
        return {channel: rows[0] for channel, rows in vectors.items()}

    @torch.inference_mode()
    def encode_positions(self, positions: NDArray[np.float64]) -> Vector:
        """Positions to fp32 unit vectors `[B, D]`, in the space of the images.

        Args:
            positions: `[B, 2]` latitude, longitude in degrees, float64; empty gives `[0, D]`.

        Raises:
            ValueError: They are not `[B, 2]`.
            BadBundleError: The bundle has no location tower, or its weights give no finite vector.
        """
        if self._location is None:
            raise BadBundleError(f"bundle {self._contract.name} has no location tower")
        vectors = np.empty((len(positions), self._contract.dims[GPS_CHANNEL]), dtype=np.float32)
        for start in range(0, len(positions), _POSITIONS_PER_PASS):
            rows = np.ascontiguousarray(positions[start : start + _POSITIONS_PER_PASS])
            block = torch.from_numpy(rows).to(self._device)
            vectors[start : start + len(block)] = self._normalize_checked(
                self._location(block), "position", first=start
            )
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Texts to fp32 unit vectors `[B, D]`, in the space of the images.

        Raises:
            UnsupportedQueryError: The bundle has no text encoder.
            BadBundleError: Its weights do not fit or give no finite vector.
        """
        if self._text is None:
            raise UnsupportedQueryError(
                f"bundle {self._contract.name} has no text encoder: search by photo, image or "
                "point, or import an open_clip tower (`pinpoint bundles import`) and run `pinpoint "
                "bundles activate`",
                reason="no_text_encoder",
            )
        return self._text.encode(texts)

    def coordinate_gallery(self) -> CoordinateGallery:
        """The bundle's coordinates with their vectors; encoded at the first call and cached.

        Raises:
            ConflictError: The bundle has no list of coordinates.
            BadBundleError: Its weights give no finite vector.
        """
        if self._coordinates is None:
            raise ConflictError(
                f"bundle {self._contract.name} is in use and has no list of coordinates to search:"
                " search the gallery, or run `pinpoint bundles import geoclip`, which includes"
                " 100,000 coordinates, and then `pinpoint bundles activate geoclip`",
                reason="no_coordinates",
            )
        with self._coordinates_lock:
            if self._coordinate_gallery is None:
                self._coordinate_gallery = CoordinateGallery(
                    positions=self._coordinates.positions,
                    vectors=self.encode_positions(self._coordinates.positions),
                    temperature=self._coordinates.logit_scale,
                    digest=self._coordinates.digest,
                )
        return self._coordinate_gallery

    @torch.inference_mode()
    def _embed_images(
        self, images: Sequence[Pixels], kind: SourceKind | None, *, first: int
    ) -> Mapping[str, Vector]:
        pixels = preprocess_images(images, self._preprocess, self._device)
        features = self._tower(pixels).to(torch.float32)
        embedding = features
        if self._heads is not None:
            embedding = self._heads(features, [kind] * len(features))
        vectors = {IMAGE_CHANNEL: self._normalize_checked(embedding, "image", first=first)}
        if RAW_CHANNEL in self._contract.dims:
            vectors[RAW_CHANNEL] = self._normalize_checked(features, "image", first=first)
        return vectors

    def _normalize_checked(self, values: torch.Tensor, what: str, *, first: int) -> Vector:
        """Rows at unit length.

        Raises:
            BadBundleError: A row is not finite or has zero length; the message names it.
        """
        length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
        usable = (torch.isfinite(length) & (length > 0)).squeeze(1).cpu()
        if not bool(usable.all()):
            bad_row = first + int((~usable).nonzero()[0])
            raise BadBundleError(
                f"bundle {self._contract.name} gives no finite, non-zero vector for {what} "
                f"{bad_row} of the batch; its weights cannot be used",
                reason="vector_not_finite",
            )
        vectors: Vector = (values / length).cpu().numpy()
        return vectors
