"""The encoder of a process: its bundle is loaded at the first use, and follows the index."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pinpoint.nets.bundle.bundles import Bundle, find_bundle, resolve_bundle
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.ports import Reranker, VectorIndex
from pinpoint.records import (
    Contract,
    CoordinateGallery,
    Pixels,
    SourceKind,
    Vector,
)
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.nets.embedder.embedder import Embedder
    from pinpoint.nets.reranker.bundle_reranker import BundleReranker


class EncoderHandle:
    """Encoder that loads its contract on demand and its weights at the first image.

    Importing torch takes seconds, which commands that never encode must not spend.

    Args:
        settings: Settings with the home of bundles and the device.
        bundle: Bundle to use instead of that of the settings.
    """

    def __init__(self, settings: Settings, bundle: str | None = None) -> None:
        self._settings = settings
        self._encoder = settings.encoder
        if bundle is not None:
            self._encoder = settings.encoder.model_copy(update={"bundle": bundle})
        self._lock = threading.Lock()

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle."""
        return find_bundle(self._encoder.bundle, self._settings.services.home)

    @cached_property
    def contract(self) -> Contract:
        """Contract of the bundle: its inputs and outputs."""
        rendition_px = self._settings.media.rendition_px
        return public_contract(self.bundle.contract, rendition_px, self.bundle.calibrations)

    @cached_property
    def _loaded_reranker(self) -> BundleReranker | None:
        from pinpoint.nets.reranker.bundle_reranker import open_reranker

        return open_reranker(self.bundle, self._settings.search.candidates, self._encoder.device)

    @property
    def reranker(self) -> Reranker | None:
        """Reranker of the bundle, loaded at the first access; None if the bundle has none."""
        with self._lock:
            return self._loaded_reranker if self.bundle.contract.reranker else None

    @cached_property
    def _loaded_encoder(self) -> Embedder:
        from pinpoint.nets.runtime import open_encoder

        return open_encoder(
            self._encoder, self._settings.services.home, self._settings.media.rendition_px
        )

    def warm(self) -> None:
        """Load the weights; concurrent calls load them only once."""
        with self._lock:
            _ = self._loaded_encoder

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Encode images to unit vectors `[B, D]`."""
        self.warm()
        return self._loaded_encoder.encode(images, kind)

    def encode_channels(
        self, images: Sequence[Pixels], kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode images to unit vectors `[B, D]` by channel."""
        self.warm()
        return self._loaded_encoder.encode_channels(images, kind)

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """Encode one query photo to a vector `[D]`."""
        self.warm()
        return self._loaded_encoder.encode_query(image, kind)

    def encode_query_channels(
        self, image: Pixels, kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode one query photo to a vector `[D]` by channel."""
        self.warm()
        return self._loaded_encoder.encode_query_channels(image, kind)

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Encode texts to unit vectors `[B, D]` in the space of the images."""
        self.warm()
        return self._loaded_encoder.encode_texts(texts)

    def encode_positions(self, positions: NDArray[np.float64]) -> Vector:
        """Encode positions `[B, 2]` (lat, lon in degrees) to unit vectors `[B, D]`."""
        self.warm()
        return self._loaded_encoder.encode_positions(positions)

    def coordinate_gallery(self) -> CoordinateGallery:
        """Coordinate gallery of the bundle, encoded at the first call."""
        self.warm()
        return self._loaded_encoder.coordinate_gallery()


class Encoders:
    """Encoder of the contract of the index.

    The bundle of the settings is used only for a newly created index.
    """

    def __init__(self, settings: Settings, index: VectorIndex) -> None:
        self._settings, self._index = settings, index
        self._lock = threading.Lock()
        self.configured = EncoderHandle(settings)
        self._live_encoder: EncoderHandle | None = None

    @property
    def current(self) -> EncoderHandle:
        """Encoder of the index as of the last `refresh`."""
        return self._live_encoder or self.refresh()

    def refresh(self) -> EncoderHandle:
        """Read the contract of the index and return its encoder.

        Raises:
            IndexUnavailableError: The index does not answer.
            BadBundleError: The bundle of the index is not installed.
        """
        contract = self._index.info().contract
        with self._lock:
            if contract is None:
                return self._live_encoder or self.configured
            if self._live_encoder is None or self._live_encoder.contract.digest != contract:
                self._live_encoder = find_encoder(contract, self._settings)
            return self._live_encoder


def find_encoder(contract: str, settings: Settings) -> EncoderHandle:
    """Find the encoder of a contract.

    Args:
        contract: Contract digest.
        settings: Settings with the home of bundles.

    Raises:
        BadBundleError: Its bundle is not installed.
    """
    home, rendition_px = settings.services.home, settings.media.rendition_px
    name = resolve_bundle(contract, home, rendition_px, settings.encoder.bundle)
    return EncoderHandle(settings, name)
