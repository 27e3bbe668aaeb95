"""`python -m pinpoint.api.openapi_file PATH` writes the OpenAPI document of this version."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pinpoint.api.app import create_app
from pinpoint.atomic_files import write_atomic


def make_openapi_text() -> str:
    """Make the OpenAPI document as indented JSON with a line end."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]), make_openapi_text(), durable=False)
