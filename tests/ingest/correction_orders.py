"""Photos through ingests, manifests, corrections and replacements in a given order, with an oracle.

The oracle knows three layers for each photo and nothing of the code: what a person set, what the
manifest said, what the file says. After every event each row must have the highest of them.
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
# Data behind the end of a picture: other bytes, the same picture and the same metadata.
PADDING = {".heic": b"\x00\x00\x00\x08free", ".heif": b"\x00\x00\x00\x08free"}


def orders() -> Iterator[tuple[str, ...]]:
    """Every order of the events; a person can correct nothing before the first ingest.

    `plain` and `again` are the same thing, so one order of the two stands for both.
    """
    for order in itertools.permutations(EVENTS):
        if order[0] != "manual" and order.index("plain") < order.index("again"):
            yield order


@dataclass
class Told:
    """What the layers say about one photo."""

    number: int
    file: Point | None
    file_source: str
    file_time: datetime | None
    file_creator: str | None
    in_manifest: bool = False
    by_person: bool = False
    held: bool = False

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
        if self.by_person and self.manual_position:
            return self.manual_position, "manual"
        if self.in_manifest and self.manifest_position:
            return self.manifest_position, "manifest"
        return self.file, self.file_source

    def time(self) -> tuple[datetime | None, str | None]:
        if self.by_person and self.manual_time:
            return self.manual_time, "manual"
        if self.in_manifest and self.manifest_time:
            return self.manifest_time, "manifest"
        return self.file_time, "file" if self.file_time else None

    def creator(self) -> str | None:
        return "ann" if self.in_manifest else self.file_creator


@dataclass
class Play:
    """One source that goes through an order of events."""

    harness: ServiceHarness
    org: object
    source: str
    folder: Path
    photos: dict[str, Told] = field(default_factory=dict)

    def read_files(self) -> None:
        """Ask the decoder, without any override, what each file says, and write the manifest."""
        rows = ["file,latitude,longitude,captured_at,creator"]
        for number, path in enumerate(sorted(self.folder.iterdir())):
            read = self.harness.parts.decoder.read(path.name, str(path))
            capture = read.capture if isinstance(read, DecodedImage) else None
            told = Told(
                number=number,
                file=capture.point if capture else None,
                file_source=capture.position_source if capture else "none",
                file_time=capture.captured_at if capture else None,
                file_creator=capture.creator if capture else None,
            )
            self.photos[path.name] = told
            where, when = told.manifest_position, told.manifest_time
            place = f"{where.lat},{where.lon}" if where else ","
            rows.append(f"{path.name},{place},{when.isoformat() if when else ''},ann")
        (self.folder / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def do(self, event: str) -> None:
        """One event and all checks after it."""
        if event == "manual":
            self._correct()
        else:
            self._ingest(event)
        self.check(event)

    def _correct(self) -> None:
        ids = {row.external_id.split("/")[-1]: row.id for row in self.rows()}
        for name, told in self.photos.items():
            fix = ImageUpdate(point=told.manual_position, captured_at=told.manual_time)
            if name not in ids or fix == ImageUpdate():
                continue
            with self.harness.database.write(self.org) as catalog:
                catalog.update_image(ids[name], fix)
            told.by_person = True
        self.harness.run()

    def _ingest(self, event: str) -> None:
        if event == "replace":
            for name in self.photos:
                path = self.folder / name
                data = path.read_bytes() + PADDING.get(path.suffix.lower(), b"\x00" * 8)
                path.unlink()
                path.write_bytes(data)
        held = {name: told.held for name, told in self.photos.items()}
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
        for told in self.photos.values():
            told.in_manifest |= event == "manifest"
            told.held |= told.position()[0] is not None
        with self.harness.database.read(self.org) as catalog:
            batch = catalog.batch(batch.id)
            items = {item.file: item for item in catalog.batch_items(batch.id, limit=1_000)}
        assert batch.is_processed
        assert set(items) == set(self.photos)
        for name, told in self.photos.items():
            self._check_item(event, told, items[name], was_held=held[name])

    def _check_item(self, event: str, told: Told, item, *, was_held: bool) -> None:
        notes = " / ".join(item.notes)
        if not told.held:
            assert (item.status, item.error_code) == ("rejected", "no_position")
        elif not was_held:
            assert item.status == "indexed"
        elif event == "replace":
            assert item.status == "updated"
            assert "bytes replace" in notes
            assert ("set manually; kept for the new bytes" in notes) == told.by_person
        elif event in ("plain", "again"):
            assert (item.status, notes) == ("duplicate", "")
        else:
            contradicted = told.by_person and (told.number % 3 == 0 or told.number % 3 == 1)
            assert ("set manually; kept" in notes) == contradicted

    def rows(self) -> Sequence:
        """The source's live rows."""
        asked = (
            "SELECT i.id, i.external_id, ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon, i.captured_at,"
            " i.position_source, i.time_source, i.creator, i.state, i.version FROM images i"
            " JOIN sources s ON s.id = i.source_id WHERE s.name = :source AND"
            " i.organization_id = :org AND i.state <> 'deleted'"
        )
        with self.harness.owner.begin() as unit:
            said = {"source": self.source, "org": self.org}
            return list(unit.connection.execute(text(asked), said))

    def check(self, event: str) -> None:
        """Every row has the highest value of each field, and names its origin."""
        rows = {row.external_id.split("/")[-1]: row for row in self.rows()}
        assert set(rows) == {name for name, told in self.photos.items() if told.held}, event
        for name, row in rows.items():
            told = self.photos[name]
            point, source = told.position()
            moment, origin = told.time()
            assert (Point(row.lat, row.lon), row.position_source) == (point, source), (event, name)
            assert row.captured_at == moment, (event, name)
            if origin == "file":  # which time of the file it is, the file's own tests say
                assert row.time_source not in (None, "manual", "manifest", "caller"), (event, name)
            else:
                assert row.time_source == origin, (event, name)
            assert row.creator == told.creator(), (event, name)
            assert row.state == "indexed", (event, name)

    def check_index(self) -> None:
        """The index holds the positions that the rows have, at their versions."""
        rows = {row.id: row for row in self.rows()}
        for found in self.harness.index.fetch(list(rows)):
            row = rows.pop(found.id)
            assert found.version == row.version
            assert abs(found.point.lat - row.lat) < 1e-5
            assert abs(found.point.lon - row.lon) < 1e-5
        assert rows == {}

    def clear(self) -> None:
        """Clear every manual value, with the files gone: what was said before comes back."""
        for name in self.photos:
            (self.folder / name).unlink()
        ids = {row.external_id.split("/")[-1]: row.id for row in self.rows()}
        for name, told in self.photos.items():
            if not told.by_person:
                continue
            cleared = "position" if told.manual_position else "captured_at"
            with self.harness.database.write(self.org) as catalog:
                catalog.update_image(ids[name], ImageUpdate(clear=frozenset({cleared})))
            told.by_person = False
        self.harness.run()
        self.check("clear")
