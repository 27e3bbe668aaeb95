"""Child process: writes a vector file to stdout as an Arrow IPC stream.

The argument is a JSON object: `path` (absolute) and `memory_mb`. A refusal is one JSON object on
stderr and the exit status `REFUSED`.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyogrio.errors import DataLayerError, DataSourceError

from pinpoint.errors import PinpointError
from pinpoint.media.vector_files.formats import REFUSED, find_format
from pinpoint.media.vector_files.reader import open_batches
from pinpoint.parent_death import prepare_death_signal

_MAX_BATCH_BYTES: Final = 64_000_000
"""Maximum size of the values of one batch, which the parent holds in memory."""


def main() -> int:
    """Write the schema or all rows; returns the exit status."""
    request = json.loads(sys.argv[1])
    _limit_rights(int(request["memory_mb"]) * 1_000_000)
    path = Path(request["path"])
    try:
        file_format = find_format(path)
        with (
            open_batches(path, file_format) as (schema, batches),
            pa.ipc.new_stream(sys.stdout.buffer, schema) as writer,
        ):
            for batch in batches:
                if batch.nbytes > _MAX_BATCH_BYTES:
                    return _write_refusal(
                        f"{path.name} has values of over {_MAX_BATCH_BYTES} bytes"
                    )
                writer.write_batch(batch)
    except PinpointError as error:
        named = path.name in error.message
        return _write_refusal(error.message if named else f"{path.name}: {error.message}")
    except MemoryError:
        return _write_refusal(f"{path.name} needs more memory than PINPOINT_MEDIA_MEMORY_MB allows")
    except (pa.ArrowException, DataSourceError, DataLayerError, UnicodeError, OSError) as error:
        detail = " ".join(str(error).split())[:200]
        return _write_refusal(f"{path.name} cannot be read as {path.suffix.lower()}: {detail}")
    return 0


def _limit_rights(memory_bytes: int) -> None:
    """Limit memory, forbid writing to files, and end with the parent."""
    prepare_death_signal(signal.SIGKILL)()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _write_refusal(message: str) -> int:
    sys.stderr.write(json.dumps({"message": message}))
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
