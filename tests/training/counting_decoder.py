"""A small frozen tower and a decoder that counts its calls; as a program it fills a cache slowly.

The features are mean colors over a grid, multiplied by a fixed random matrix.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.settings import MediaSettings
from pinpoint.training.core.samples import ManifestSource, read_samples
from pinpoint.training.embedder.features import FeatureEncoder, cache_features

WIDTH, CHUNK = 20, 16
TOWER = hashlib.sha256(b"grid of 4, seed 0").hexdigest()
_MATRIX = np.random.default_rng(0).normal(size=(48, WIDTH)).astype(np.float32)


def encode(images):
    """`[B, F]` of images of any size."""
    means = [
        [part.mean(axis=(0, 1)) for band in np.array_split(image, 4) for part in columns(band)]
        for image in images
    ]
    return (np.array(means, dtype=np.float32).reshape(len(images), -1) / 255.0 - 0.5) @ _MATRIX


def columns(band):
    return np.array_split(band, 4, axis=1)


class CountingDecoder:
    """A real decoder that records the files it decodes."""

    def __init__(self, decoder):
        self.decoder, self.files = decoder, []

    def read(self, file, data, metadata_override=None, *, query=False, crop=None):
        self.files.append(file)
        return self.decoder.read(file, data, metadata_override, query=query, crop=crop)

    def close(self):
        self.decoder.close()


def main(folder, manifest, kind):
    samples = read_samples(
        [ManifestSource(manifest=Path(manifest), kind=kind)], MediaSettings()
    ).samples

    def slowly(images):
        time.sleep(0.15)
        return encode(images)

    with ChildDecoder(MediaSettings()) as decoder:
        cache_features(
            Path(folder),
            samples,
            decoder=decoder,
            encoder=FeatureEncoder(encode=slowly, digest=TOWER, width=WIDTH),
            chunk=CHUNK,
            on_progress=lambda done, total: print(done, total, flush=True),  # noqa: T201
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
