"""Answers as GeoJSON, for a GIS: the option `--geojson` of `locate` and `similar`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.atomic_files import write_atomic
from pinpoint.cli import output
from pinpoint.errors import BadRequestError, describe_cause

GeoJsonOption = Annotated[
    Path | None,
    typer.Option(
        "--geojson",
        metavar="FILE",
        help="Write the result as a GeoJSON layer instead of printing it; `-` is the standard "
        "output.",
    ),
]


def merge_answers(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the FeatureCollections of several queries to one.

    Args:
        answers: `photos`, `answer` (a FeatureCollection, or None) and `error` of each query.

    Returns:
        A FeatureCollection whose features have the property `photo`. Its member `answers` has the
        foreign members of each answer.
    """
    features, members = [], []
    for entry in answers:
        answer = dict(entry["answer"] or {})
        photo = ", ".join(entry["photos"])
        features += [
            {**feature, "properties": {"photo": photo, **feature["properties"]}}
            for feature in answer.pop("features", [])
        ]
        answer.pop("type", None)
        members.append({"photos": entry["photos"], "error": entry["error"], **answer})
    return {"type": "FeatureCollection", "features": features, "answers": members}


def write_layer(path: Path, layer: dict[str, Any]) -> None:
    """Write a FeatureCollection to a file, or to the standard output for `-`.

    Raises:
        BadRequestError: The file cannot be written.
    """
    if str(path) == "-":
        output.print_json(layer)
        return
    try:
        write_atomic(path, json.dumps(layer, ensure_ascii=False).encode(), durable=False)
    except OSError as error:
        raise BadRequestError(f"{path} cannot be written: {describe_cause(error)}") from error
    output.warn(f"pinpoint: {len(layer['features'])} features in {path}")
