"""Real geotagged photos through every order of ingest, manifest, correction and replacement."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from ingest.correction_scenario import CorrectionScenario, event_orders
from pinpoint.records import DecodedImage
from shared_data import shared_data
from stack_fixtures import ServiceHarness

LARGE_PIXELS = 1_500_000
LARGE_EVERY = 8
"""Photos with more pixels go through every eighth order: decoding them takes most of the time."""


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()


def geotagged(harness: ServiceHarness) -> tuple[list[Path], list[Path]]:
    """Small and large photos of the real files that say where they were taken, each bytes once."""
    small: list[Path] = []
    large: list[Path] = []
    seen: set[str] = set()
    for path in sorted((shared_data() / "photos").rglob("*")):
        if not path.is_file() or path.suffix.lower() in (".md", ".json", ".xmp", ".txt", ".html"):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in seen:
            continue
        seen.add(digest)
        read = harness.components.decoder.read(path.name, str(path))
        if isinstance(read, DecodedImage):
            pixels = read.capture.width_px * read.capture.height_px
            (large if pixels > LARGE_PIXELS else small).append(path)
    return small, large


@pytest.mark.timeout(3_600)
def test_field_precedence_of_real_photos_holds_in_every_order(harness, tmp_path, capsys):
    small, large = geotagged(harness)
    assert len(small) > 15
    assert len(large) > 5
    org = harness.organization()
    rows = 0
    for number, order in enumerate(event_orders()):
        photos = [*small, *(large if number % LARGE_EVERY == 0 else [])]
        folder = tmp_path / f"order-{number:02d}"
        folder.mkdir()
        for place, photo in enumerate(photos):
            # Numbered, since the folders of the collection share names.
            shutil.copyfile(photo, folder / f"{place:03d}{photo.suffix}")
        scenario = CorrectionScenario(
            harness=harness, org=org, source=f"order-{number:02d}", folder=folder
        )
        scenario.read_files()
        for event in order:
            scenario.apply_event(event)
        scenario.check_index()
        scenario.clear_manual_values()
        rows += len(scenario.photos) * (len(order) + 1)
        shutil.rmtree(folder)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{number + 1} orders, {len(small)} small and {len(large)} large photos, "
            f"{rows} rows checked after an event\n"
        )
