"""Pictures in, unit vectors out; the same vector whoever else is in the batch.

Letters: B pictures or positions, H and W pixels, D the width of a vector.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinpoint.errors import BadBundle, Conflict
from pinpoint.nets.contract import Preprocess
from pinpoint.nets.place_lists import Listed
from pinpoint.nets.preprocess import prepare
from pinpoint.records import GPS_CHANNEL, Contract, Pixels, PlaceList, SourceKind, Vector

_PLACES_AT_ONCE: Final = 4_096
"""A position is small beside the weights: fewer passes read them less often."""


class Embedder:
    """A tower with its preprocessing; answers the port `Encoder`. Safe to share among threads.

    Args:
        tower: Maps `[B, 3, S, S]` to `[B, F]`; in inference mode, on `device`, fp32.
        heads: Maps `[B, F]` and a kind per row to `[B, D]`, where there is such; without, F is D.
        location: Maps positions `[B, 2]` to `[B, D]`, where the contract has the channel `gps`.
        listed: Places to answer with without a gallery; only with `location`.
        contract: What it produces.
        preprocess: What it expects.
        device: Where it computes.
        batch: Most pictures in one forward pass.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        heads: nn.Module | None = None,
        location: nn.Module | None = None,
        listed: Listed | None = None,
        contract: Contract,
        preprocess: Preprocess,
        device: torch.device,
        batch: int,
    ) -> None:
        self._tower = tower
        self._heads = heads
        self._location = location
        self._listed = listed
        self._places: PlaceList | None = None
        self._contract = contract
        self._preprocess = preprocess
        self._device = device
        self._batch = batch
        self._one_query = threading.Lock()
        self._one_list = threading.Lock()

    @property
    def contract(self) -> Contract:
        """What the loaded bundle expects and produces."""
        return self._contract

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Pictures `[H, W, 3]` uint8, of any sizes, to fp32 unit vectors `[B, D]`.

        Args:
            images: The renditions; none give `[0, D]`.
            kind: Of the source; chooses the adapter, where the bundle has any.

        Raises:
            ValueError: A picture is not `[H, W, 3]` uint8.
            BadBundle: The weights give a vector that is not finite, or of no length.
        """
        vectors = np.empty((len(images), self._contract.dims["image"]), dtype=np.float32)
        for start in range(0, len(images), self._batch):
            vectors[start : start + self._batch] = self._forward(
                images[start : start + self._batch], kind, first=start
            )
        return vectors

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """One picture to one vector `[D]`, bit-equal at every call.

        Queries are computed one by one: on every device the shape of the batch is then always the
        same, and with it the order in which a kernel adds up.

        Raises:
            ValueError: The picture is not `[H, W, 3]` uint8.
            BadBundle: The weights give a vector that is not finite, or of no length.
        """
        with self._one_query:
            vector: Vector = self._forward([image], kind, first=0)[0]
        return vector

    @torch.inference_mode()
    def encode_places(self, positions: NDArray[np.float64]) -> Vector:
        """Positions to fp32 unit vectors `[B, D]`, in the space of the pictures.

        Args:
            positions: `[B, 2]` latitude, longitude in degrees, float64; none give `[0, D]`.

        Raises:
            ValueError: They are not `[B, 2]`.
            BadBundle: The bundle has no location tower, or its weights give no finite vector.
        """
        if self._location is None:
            raise BadBundle(f"bundle {self._contract.name} has no location tower")
        vectors = np.empty((len(positions), self._contract.dims[GPS_CHANNEL]), dtype=np.float32)
        for start in range(0, len(positions), _PLACES_AT_ONCE):
            rows = np.ascontiguousarray(positions[start : start + _PLACES_AT_ONCE])
            block = torch.from_numpy(rows).to(self._device)
            vectors[start : start + len(block)] = self._unit(
                self._location(block), "position", first=start
            )
        return vectors

    def listed_places(self) -> PlaceList:
        """The bundle's own places with their vectors; encoded at the first call and kept.

        Raises:
            Conflict: The bundle has no list of places.
            BadBundle: Its weights give no finite vector.
        """
        if self._listed is None:
            raise Conflict(
                f"bundle {self._contract.name} is in use and has no list of places to answer with:"
                " ask over the gallery, or say `pinpoint bundles import geoclip`, which brings"
                " 100,000 places along, and then `pinpoint bundles use geoclip`",
                reason="no_places",
            )
        with self._one_list:
            if self._places is None:
                self._places = PlaceList(
                    positions=self._listed.positions,
                    vectors=self.encode_places(self._listed.positions),
                    temperature=self._listed.temperature,
                    digest=self._listed.digest,
                )
        return self._places

    @torch.inference_mode()
    def _forward(self, images: Sequence[Pixels], kind: SourceKind | None, *, first: int) -> Vector:
        pixels = prepare(images, self._preprocess, self._device)
        raw = self._tower(pixels).to(torch.float32)
        if self._heads is not None:
            raw = self._heads(raw, [kind] * len(raw))
        return self._unit(raw, "picture", first=first)

    def _unit(self, raw: torch.Tensor, what: str, *, first: int) -> Vector:
        """Rows at unit length, or which of the batch has none."""
        length = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
        usable = (torch.isfinite(length) & (length > 0)).squeeze(1).cpu()
        if not bool(usable.all()):
            bad = first + int((~usable).nonzero()[0])
            raise BadBundle(
                f"bundle {self._contract.name} gives no finite vector of some length for {what} "
                f"{bad} of the batch; its weights cannot be used",
                reason="vector_not_finite",
            )
        vectors: Vector = (raw / length).cpu().numpy()
        return vectors
