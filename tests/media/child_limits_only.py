"""The decoding child as it was before its sandbox: resource limits only; a baseline."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

from pinpoint.media.decoding import child
from pinpoint.media.decoding.sandbox import Measure


def limit(memory_bytes: int, after_switch: Callable[[], None]) -> tuple[Measure, ...]:
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    return ()


if __name__ == "__main__":
    setattr(child, "confine", limit)  # noqa: B010 - replaces an import of the module
    sys.exit(child.main(sys.argv))
