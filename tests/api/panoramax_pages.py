"""Uploads for the tests of the Panoramax API, and readers of its pages."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from pystac.validation.stac_validator import JsonSchemaSTACValidator

from media.pictures import noise, saved, xmp

LAT, LON = 43.60, 1.44


class CoreValidator(JsonSchemaSTACValidator):
    """Validates against the schemas that pystac has; those of extensions need the network."""

    def validate_extension(self, *_arguments, **_options):
        return None


def sphere(seed, **properties):
    """A panorama of 400 columns; without its upper and lower rows if `properties` say so."""
    rows = int(properties.get("GPano__CroppedAreaImageHeightPixels", 200))
    packet = xmp(GPano__ProjectionType="equirectangular", **properties)
    return saved(noise(400, rows, seed=seed), xmp=packet)


CROPPED = {
    "GPano__FullPanoWidthPixels": "400",
    "GPano__FullPanoHeightPixels": "200",
    "GPano__CroppedAreaImageWidthPixels": "400",
    "GPano__CroppedAreaImageHeightPixels": "160",
    "GPano__CroppedAreaLeftPixels": "0",
    "GPano__CroppedAreaTopPixels": "10",
}


def upload(api, source, files):
    """Upload files with their metadata; returns the ids of their images."""
    batch = api.post("/v1/batches", json={"source": source}).json()
    parts = [("files", (name, data, "image/jpeg")) for name, (data, _) in files.items()]
    overrides = {name: override for name, (_, override) in files.items()}
    sent = api.post(
        f"/v1/batches/{batch['id']}/images",
        files=parts,
        data={"metadata_overrides": json.dumps(overrides)},
    )
    assert sent.status_code == 202, sent.text
    api.post(f"/v1/batches/{batch['id']}/close")
    for _ in range(400):
        if api.get(f"/v1/batches/{batch['id']}").json()["is_processed"]:
            break
        time.sleep(0.1)
    items = api.get(f"/v1/batches/{batch['id']}/items", params={"limit": 500}).json()["items"]
    assert {item["status"] for item in items} == {"indexed"}, items
    return {item["file"]: item["image_ids"] for item in items}


def taken(position, minute, **fields):
    """Metadata of one image of a drive to the east."""
    when = datetime(2024, 5, 1, 10, minute, tzinfo=UTC).isoformat()
    return {"lat": LAT, "lon": LON + 0.0002 * position, "captured_at": when, **fields}


def items_of(api, collection, limit=100):
    """Items of a collection over all pages of a size."""
    items, href = [], f"/api/collections/{collection['id']}/items?limit={limit}"
    while href:
        page = api.get(href)
        assert page.headers["content-type"] == "application/geo+json"
        assert len(page.json()["features"]) <= limit
        items += page.json()["features"]
        href = next((link["href"] for link in page.json()["links"] if link["rel"] == "next"), None)
    return items


def link_of(document, rel):
    return next((link for link in document["links"] if link["rel"] == rel), None)


def matches(item, search):
    lon, lat = item["geometry"]["coordinates"]
    if "bbox" in search:
        numbers = [float(part) for part in search["bbox"].split(",")]
        half = len(numbers) // 2
        west, east = (x + 360 if x < -180 else x for x in (numbers[0], numbers[half]))
        inside = numbers[1] <= lat <= numbers[half + 1]
        if not (inside and west - 1e-12 <= lon <= east + 1e-12):
            return False
    if "datetime" in search:
        start, end = search["datetime"].split("/")
        when = item["properties"]["datetime"]
        if when is None or (start != ".." and when < start) or (end != ".." and when > end):
            return False
    return True
