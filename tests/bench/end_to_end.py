"""`locate` of a photo over HTTP against its parts called directly, and memory of the stack.

The photos show other places than the seeded gallery: the answers are not evaluated.
"""

from __future__ import annotations

import gc
from io import BytesIO
from time import perf_counter

import numpy as np
from PIL import Image

from bench.locate import OWNERS, WARM_UP, Prepared, compare_sides, is_exact_search
from bench.stack import measure_mib
from pinpoint.records import Pixels

STAGES = ("decode", "encode", "retrieve", "evidence", "rank", "decide", "wire")
_BARE = {
    "search": "retrieve",
    "choose": "retrieve",
    "evidence": "evidence",
    "vote": "rank",
    "cited": "decide",
}
"""Stage of `locate` that each part of the baseline belongs to."""
_MILLION = 1_000_000


def measure(ready: Prepared, num_queries: int) -> dict[str, object]:
    """Measure both sides with the same photos, alternating which side is first."""
    owner = OWNERS[0]
    exact = is_exact_search(ready, owner)
    sides: dict[str, list[dict[str, float]]] = {"pinpoint": [], "bare": []}
    encoder = ready.services.encoder
    encoder.warm()
    rendition_px = ready.services.settings.media.rendition_px
    gc.collect()
    with ready.stack.client("org-0") as client:
        for number in range(WARM_UP + num_queries):
            photo = ready.photos[number % len(ready.photos)]
            for side in ("pinpoint", "bare") if number % 2 else ("bare", "pinpoint"):
                marks = [perf_counter()]
                if side == "pinpoint":
                    timings_ms = client.locate(photo)["timings_ms"]
                    stages = {name: ms for name, ms in timings_ms.items() if name != "total"}
                else:
                    pixels = decode_with_pillow(photo, rendition_px)
                    marks.append(perf_counter())
                    vector = encoder.encode_query(pixels)
                    marks.append(perf_counter())
                    took = ready.baseline.locate(vector, owner, exact).took_ms
                    stages = dict(zip(STAGES, np.diff(marks) * 1e3, strict=False))
                    for part, ms in took.items():
                        stages[_BARE[part]] = stages.get(_BARE[part], 0.0) + ms
                total = (perf_counter() - marks[0]) * 1e3
                if number >= WARM_UP:
                    rest = total - sum(stages.values())
                    sides[side].append({**stages, "wire": rest, "total": total})
    return {
        "rows": ready.rows,
        "tower": ready.stack.tower,
        "search": "exact" if exact else "graph",
        "questions": num_queries,
        **compare_sides(sides),
    }


def decode_with_pillow(data: bytes, rendition_px: int) -> Pixels:
    """Decode a JPEG to the tower's size with Pillow in this process, without limits."""
    image = Image.open(BytesIO(data))
    scale = min(1.0, rendition_px / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    image.draft("RGB", size)
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(small)


def memory(ready: Prepared) -> dict[str, object]:
    """Memory and disk of the stack with its gallery, and the increase per million images."""
    usage = measure_mib(ready.stack)
    return {
        "rows": ready.rows,
        "mib": {name: round(mib) for name, mib in usage.items()},
        "mib_per_million": {
            name: round((mib - ready.empty_mib[name]) * _MILLION / ready.rows)
            for name, mib in usage.items()
        },
    }
