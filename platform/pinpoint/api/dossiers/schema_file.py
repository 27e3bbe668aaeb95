"""`python -m pinpoint.api.dossiers.schema_file PATH` writes the JSON Schema of `dossier.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pinpoint.api.v1.schemas.dossiers import DossierOut
from pinpoint.atomic_files import write_atomic


def make_schema_text() -> str:
    """Make the JSON Schema (draft 2020-12) as indented JSON with a line end."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **DossierOut.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]), make_schema_text(), durable=False)
