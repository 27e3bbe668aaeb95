"""Photos through ingests, manifests, corrections and replacements in a given order, with an oracle.

The oracle has three layers for each photo and does not use the code: the manual value, the value of
the manifest, the value of the file. After every event each row must have the highest layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from pinpoint.ingest.register import register_files
from pinpoint.records import DecodedImage, ImageUpdate, Point
from stack_fixtures import ServiceHarness

EVENTS = ("plain", "manifest", "manual", "again", "replace")
MANUAL_TIME = datetime(2011, 1, 2, 3, 4, 5, tzinfo=UTC)
MANIFEST_TIME = datetime(2012, 1, 2, 3, 4, 5, tzinfo=UTC)
# Data after the end of a picture: other bytes, the same picture and the same metadata.
PADDING = {".heic": b"\x00\x00\x00\x08free", ".heif": b"\x00\x00\x00\x08free"}


def event_orders() -> Iterator[tuple[str, ...]]:
    """Every order of the events; an image can be corrected only after the first ingest.

    `plain` and `again` are the same event, so one order of the two is enough.
    """
    for order in itertools.permutations(EVENTS):
        if order[0] != "manual" and order.index("plain") < order.index("again"):
            yield order


@dataclass
class PhotoLayers:
    """The layers of one photo."""

    number: int
    file_position: Point | None
    file_position_source: str
    file_time: datetime | None
    file_creator: str | None
    in_manifest: bool = False
    corrected: bool = False
    stored: bool = False

    @property
    def manual_position(self) -> Point | None:
        return Point(-40.0 - self.number / 100, 150.0) if self.number % 3 == 0 else None

    @property
    def manual_time(self) -> datetime | None:
        return MANUAL_TIME if self.number % 3 == 1 else None

    @property
    def manifest_position(self) -> Point | None:
        return Point(10.0 + self.number / 100, 20.0) if self.number % 3 < 2 else None

    @property
    def manifest_time(self) -> datetime | None:
        return MANIFEST_TIME if self.number % 3 > 0 else None

    def position(self) -> tuple[Point | None, str | None]:
        if self.corrected and self.manual_position:
            return self.manual_position, "manual"
        if self.in_manifest and self.manifest_position:
            return self.manifest_position, "manifest"
        return self.file_position, self.file_position_source

    def time(self) -> tuple[datetime | None, str | None]:
        if self.corrected and self.manual_time:
            return self.manual_time, "manual"
        if self.in_manifest and self.manifest_time:
            return self.manifest_time, "manifest"
        return self.file_time, "file" if self.file_time else None

    def creator(self) -> str | None:
        return "ann" if self.in_manifest else self.file_creator


@dataclass
class CorrectionScenario:
    """One source that receives events in a given order."""

    harness: ServiceHarness
    org: object
    source: str
    folder: Path
    photos: dict[str, PhotoLayers] = field(default_factory=dict)

    def read_files(self) -> None:
        """Decode each file without any override, and write the manifest."""
        rows = ["file,latitude,longitude,captured_at,creator"]
        for number, path in enumerate(sorted(self.folder.iterdir())):
            read = self.harness.components.decoder.read(path.name, str(path))
            capture = read.capture if isinstance(read, DecodedImage) else None
            layers = PhotoLayers(
                number=number,
                file_position=capture.point if capture else None,
                file_position_source=capture.position_source if capture else "none",
                file_time=capture.captured_at if capture else None,
                file_creator=capture.creator if capture else None,
            )
            self.photos[path.name] = layers
            position, captured_at = layers.manifest_position, layers.manifest_time
            coordinates = f"{position.lat},{position.lon}" if position else ","
            rows.append(
                f"{path.name},{coordinates},{captured_at.isoformat() if captured_at else ''},ann"
            )
        (self.folder / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def apply_event(self, event: str) -> None:
        """Apply one event and run all checks."""
        if event == "manual":
            self._correct()
        else:
            self._ingest(event)
        self.check_rows(event)

    def _correct(self) -> None:
        ids = {row.external_id.split("/")[-1]: row.id for row in self.rows()}
        for name, layers in self.photos.items():
            update = ImageUpdate(point=layers.manual_position, captured_at=layers.manual_time)
            if name not in ids or update == ImageUpdate():
                continue
            with self.harness.database.write(self.org) as catalog:
                catalog.update_image(ids[name], update)
            layers.corrected = True
        self.harness.run()

    def _ingest(self, event: str) -> None:
        if event == "replace":
            for name in self.photos:
                path = self.folder / name
                data = path.read_bytes() + PADDING.get(path.suffix.lower(), b"\x00" * 8)
                path.unlink()
                path.write_bytes(data)
        stored = {name: layers.stored for name, layers in self.photos.items()}
        batch = register_files(
            self.folder,
            source=self.source,
            kind="photo",
            organization_id=self.org,
            database=self.harness.operator,
            settings=self.harness.settings,
            use_manifest=event == "manifest",
        ).batch
        self.harness.run()
        for layers in self.photos.values():
            layers.in_manifest |= event == "manifest"
            layers.stored |= layers.position()[0] is not None
        with self.harness.database.read(self.org) as catalog:
            batch = catalog.batch(batch.id)
            items = {item.file: item for item in catalog.batch_items(batch.id, limit=1_000)}
        assert batch.is_processed
        assert set(items) == set(self.photos)
        for name, layers in self.photos.items():
            self._check_item(event, layers, items[name], was_stored=stored[name])

    def _check_item(self, event: str, layers: PhotoLayers, item, *, was_stored: bool) -> None:
        notes = " / ".join(item.notes)
        if not layers.stored:
            assert (item.status, item.error_code) == ("rejected", "no_position")
        elif not was_stored:
            assert item.status == "indexed"
        elif event == "replace":
            assert item.status == "updated"
            assert "bytes replace" in notes
            assert ("set manually; kept for the new bytes" in notes) == layers.corrected
        elif event in ("plain", "again"):
            assert (item.status, notes) == ("duplicate", "")
        else:
            contradicted = layers.corrected and (layers.number % 3 == 0 or layers.number % 3 == 1)
            assert ("set manually; kept" in notes) == contradicted

    def rows(self) -> Sequence:
        """Live rows of the source."""
        statement = (
            "SELECT i.id, i.external_id, ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon, i.captured_at,"
            " i.position_source, i.time_source, i.creator, i.state, i.version FROM images i"
            " JOIN sources s ON s.id = i.source_id WHERE s.name = :source AND"
            " i.organization_id = :org AND i.state <> 'deleted'"
        )
        with self.harness.owner.begin() as unit:
            parameters = {"source": self.source, "org": self.org}
            return list(unit.connection.execute(text(statement), parameters))

    def check_rows(self, event: str) -> None:
        """Check that every row has the highest value of each field and its source."""
        rows = {row.external_id.split("/")[-1]: row for row in self.rows()}
        assert set(rows) == {name for name, layers in self.photos.items() if layers.stored}, event
        for name, row in rows.items():
            layers = self.photos[name]
            point, source = layers.position()
            moment, origin = layers.time()
            assert (Point(row.lat, row.lon), row.position_source) == (point, source), (event, name)
            assert row.captured_at == moment, (event, name)
            if (
                origin == "file"
            ):  # tests/media/test_media_times.py tests which time of the file is used
                assert row.time_source not in (None, "manual", "manifest", "caller"), (event, name)
            else:
                assert row.time_source == origin, (event, name)
            assert row.creator == layers.creator(), (event, name)
            assert row.state == "indexed", (event, name)

    def check_index(self) -> None:
        """Check that the index has the positions and versions of the rows."""
        rows = {row.id: row for row in self.rows()}
        for indexed in self.harness.index.fetch(list(rows)):
            row = rows.pop(indexed.id)
            assert indexed.version == row.version
            assert abs(indexed.point.lat - row.lat) < 1e-5
            assert abs(indexed.point.lon - row.lon) < 1e-5
        assert rows == {}

    def clear_manual_values(self) -> None:
        """Clear every manual value after the files are deleted: the lower layers apply again."""
        for name in self.photos:
            (self.folder / name).unlink()
        ids = {row.external_id.split("/")[-1]: row.id for row in self.rows()}
        for name, layers in self.photos.items():
            if not layers.corrected:
                continue
            cleared = "position" if layers.manual_position else "captured_at"
            with self.harness.database.write(self.org) as catalog:
                catalog.update_image(ids[name], ImageUpdate(clear=frozenset({cleared})))
            layers.corrected = False
        self.harness.run()
        self.check_rows("clear")
