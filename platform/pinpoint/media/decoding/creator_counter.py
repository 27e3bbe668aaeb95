"""A decoder that also counts the creators in the metadata of query photos, for the misuse rule."""

from __future__ import annotations

from collections import Counter

from pinpoint.ports import Decoder
from pinpoint.records import C2paClaim, Crop, DecodedImage, MetadataOverride, Rejected


class CreatorCounter:
    """`Decoder` of one query; the names are kept until the query ends.

    Args:
        decoder: The decoder that reads the photos.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.creators: Counter[str] = Counter()
        """Number of photos by creator; photos without a creator are not counted."""

    def read(
        self,
        file: str,
        data: bytes | str,
        metadata_override: MetadataOverride | None = None,
        *,
        query: bool = False,
        crop: Crop | None = None,
    ) -> DecodedImage | Rejected:
        """As `Decoder.read`."""
        reading = self._decoder.read(file, data, metadata_override, query=query, crop=crop)
        if isinstance(reading, DecodedImage) and reading.capture.creator:
            self.creators[reading.capture.creator] += 1
        return reading

    def read_c2pa(self, data: bytes) -> C2paClaim:
        """As `Decoder.read_c2pa`."""
        return self._decoder.read_c2pa(data)

    def close(self) -> None:
        """As `Decoder.close`."""
        self._decoder.close()
