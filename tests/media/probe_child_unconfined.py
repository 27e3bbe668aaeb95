"""The decoding child without its sandbox, running probes: shows that each probe can succeed."""

from __future__ import annotations

import os

from media.probes import serve
from pinpoint.media.decoding.child_start import write_ready

if __name__ == "__main__":
    reading, writing = os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb")
    write_ready(writing, ())
    serve(reading, writing)
