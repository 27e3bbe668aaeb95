"""The real decoding child up to and including its confinement; then it runs probes."""

from __future__ import annotations

import json
import sys

from media.probes import serve
from pinpoint.media.decoding.child import start_confined
from pinpoint.media.decoding.child_start import write_ready

if __name__ == "__main__":
    reading, writing, measures = start_confined(json.loads(sys.argv[1]))
    write_ready(writing, measures)
    serve(reading, writing)
