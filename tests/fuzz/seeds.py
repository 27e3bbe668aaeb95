"""Seed inputs of each fuzz target, and all inputs that once failed.

`FINDINGS` has the failing inputs that fuzzing found; `test_fuzz_targets.py` replays them in every
run.
"""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import numpy as np
from PIL.TiffImagePlugin import IFDRational

from index_gallery import ORG_A, SOURCES, START, gallery
from media.pictures import PARIS, exif, xmp
from pinpoint.records import Box, Circle, IndexFilter, IndexQuery, Point, Polygon
from pinpoint.store.vectors.rpc import codec

_HOSTILE_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63, -(2**63), float("nan"), float("inf"), 1e308)
_HOSTILE = (
    *_HOSTILE_NUMBERS,
    *(None, True, "", "\x00", "x" * 300, b"", b"\x00" * 16, b"x" * 15, [], [[]], {}, {"a": 1}),
)


def seeds(target: str) -> list[bytes]:
    """Valid and nearly valid inputs of a target, in a fixed order."""
    return [*_STARTS[target](), *FINDINGS.get(target, [])]


def _exif() -> list[bytes]:
    detail = {0x9003: "2020:02:03 12:00:00", 0x9011: "+02:00", 0x9291: "123"}
    base = {0x010F: "Maker", 0x0110: "Maker Model", 0x0112: 6, 0x013B: "Anna"}
    more = {5: b"\x01", 6: IFDRational(1, 0), 7: (12.0, 30.0, 1.5), 16: "M", 17: 359.9}
    date = {29: "2020:02:03"}
    return [
        exif(gps=PARIS),
        exif(gps={**PARIS, **more, **date}, detail=detail, base=base),
        exif(gps={1: "S", 2: (1, 2, 3), 3: "W", 4: (IFDRational(0, 0),) * 3}),
        exif(base={0x9C9D: b"A\x00b\x00"}),
        exif(
            gps={**PARIS, **more, 29: "1980:01:06"},
            detail={**detail, 0x9004: "2020:02:03 24:00:60"},
        ),
        exif(
            detail={0x9003: "9999:12:31 24:00:00", 0x882A: 14}, base={0x0132: "0001:01:01 00:00:00"}
        ),
    ]


def _xmp() -> list[bytes]:
    sizes = ("FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaLeftPixels")
    more = ("CroppedAreaTopPixels", "CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels")
    sphere = {f"GPano__{name}": "4096" for name in (*sizes, *more)}
    return [
        xmp(exif__GPSLatitude="48,51.4N", exif__GPSLongitude="2,21,3E"),
        xmp(exif__GPSLatitude="-33.5", exif__GPSLongitude="151.2", exif__GPSAltitude="7/2"),
        xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90", **sphere),
        xmp(exif__DateTimeOriginal="2020-02-03T12:00:00+02:00", exif__GPSImgDirection="1/0"),
        xmp(xmp__CreateDate="9999-12-31T23:59:59-14:00"),
        xmp(exif__GPSLatitude="33.8", exif__GPSLatitudeRef="South", exif__GPSLongitude="1/0W"),
        xmp(photoshop__DateCreated="0001-01-01T00:00:00", xmp__ModifyDate="0001-01-01T00:00:00Z"),
    ]


def _csv() -> list[bytes]:
    return [
        b"file,lat,lon,heading,captured_at,creator\na.jpg,48.8,2.3,90,2020-01-01T00:00:00Z,Ann\n",
        b'\xef\xbb\xbffile;latitude;longitude\n"a.jpg";1;2\nsub/c.jpg;91;0\n../x.jpg;0;0\n',
        b"path\tlng\tlat\tweather\nb.jpg\t1\t2\t\x00\n",
        b'file,id,note\na.jpg,1,"two\nlines"\na.jpg,2,3,4,5\n',
    ]


def _geojson() -> list[bytes]:
    point = b'{"type":"Feature","properties":{"file":"a.jpg"},"geometry":'
    place = b'{"type":"Point","coordinates":[2.35,48.85,35]}}'
    whole = b'{"type":"FeatureCollection","features":[' + point + place
    return [
        whole + b"]}",
        whole + b',{"type":"Feature","id":7,"properties":{"file":"b.jpg","n":[1,{"a":2}]}}]}',
        whole + b',{"properties":{"file":"sub/c.jpg","note":"\\u0000\\ud800"}}]}',
        whole + b',{"properties":{"file":"\\udcff.jpg","time":NaN,"captured_at":"2020-01-01"}}]}',
    ]


def requests() -> list[tuple[dict[str, object], list[np.ndarray]]]:
    """One valid request for each verb and shape of filter."""
    points = gallery(4)
    ids = [point.id.bytes for point in points]
    vector = points[0].vectors["image"]
    shapes = [
        IndexFilter(
            organization_id=ORG_A,
            source_kinds=("photo",),
            captured_after=START,
            captured_before=START,
        ),
        IndexFilter(
            organization_id=ORG_A,
            circle=Circle(center=Point(1.0, 179.9), radius_m=50_000.0),
            source_ids=tuple(SOURCES),
            exclude_ids=(points[0].id,),
        ),
        IndexFilter(organization_id=ORG_A, box=Box(south=-1.0, west=170.0, north=1.0, east=-170.0)),
        IndexFilter(
            organization_id=ORG_A,
            polygons=(
                Polygon(
                    exterior=(Point(0.0, 0.0), Point(0.0, 9.0), Point(9.0, 9.0), Point(0.0, 0.0)),
                    holes=((Point(1.0, 3.0), Point(1.0, 4.0), Point(2.0, 4.0), Point(1.0, 3.0)),),
                ),
            ),
            exclude_groups=("group-1",),
            exclude_circle=Circle(center=Point(1.0, 179.9), radius_m=5_000.0),
        ),
    ]
    queries = [
        IndexQuery(
            channel="image",
            vector=vector,
            filter=shape,
            limit=3,
            exact=bool(n % 2),
            contract=(None, "fuzz")[n % 2],
        )
        for n, shape in enumerate(shapes)
    ]
    search_fields, vectors = codec.pack_queries(queries)
    stored, arrays = codec.pack_points(points)
    first = ORG_A.bytes
    return [
        ({"verb": "ping"}, []),
        ({"verb": "info"}, []),
        ({"verb": "progress"}, []),
        ({"verb": "ensure", "contract": "fuzz", "dims": {"image": 16, "gps": 8}}, []),
        ({"verb": "search", **search_fields}, vectors),
        ({"verb": "upsert", "contract": "fuzz", **stored}, arrays),
        ({"verb": "write_tombstones", "versions": [[UUID(int=9).bytes, 3]]}, []),
        ({"verb": "delete_points", "ids": [UUID(int=9).bytes]}, []),
        ({"verb": "versions", "ids": ids}, []),
        ({"verb": "flush"}, []),
        ({"verb": "fetch", "ids": ids, "vectors": True}, []),
        ({"verb": "scroll", "after": None, "limit": 5, "organization": first}, []),
        ({"verb": "scroll", "after": ids[0], "limit": 5, "organization": None}, []),
        ({"verb": "count", "filter": shapes[1]}, []),
        ({"verb": "count", "filter": None}, []),
    ]


def _frames() -> list[bytes]:
    return [codec.encode(fields, arrays) for fields, arrays in requests()]


def twist(data: bytes, most: int, seed: int) -> bytes | None:
    """A frame of the same form with some values replaced; None if `data` is no frame."""
    rng = random.Random(seed)
    try:
        fields, arrays = codec.decode(data)
    except Exception:
        return None
    for _ in range(rng.randint(1, 3)):
        fields = _twisted(fields, rng, top=True)
    if arrays and rng.random() < 0.3:
        victim = rng.randrange(len(arrays))
        changed = arrays[victim].copy()
        if changed.size:
            changed.flat[rng.randrange(changed.size)] = rng.choice((np.nan, np.inf, 0.0, 7e4))
        arrays[victim] = changed if rng.random() < 0.7 else changed[:1]
    try:
        frame = codec.encode(fields, arrays)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return frame if len(frame) <= most else None


def _twisted(value: Any, rng: random.Random, *, top: bool = False) -> Any:
    """The same tree with one leaf or one branch replaced."""
    if not top and rng.random() < 0.15:
        return rng.choice(_HOSTILE)
    if isinstance(value, dict) and value:
        key = rng.choice([name for name in value if name != "verb"] or list(value))
        return value | {key: _twisted(value[key], rng)}
    if isinstance(value, list | tuple) and value:
        items, at = list(value), rng.randrange(len(value))
        action = rng.random()
        if action < 0.1:
            return items[:at] + items[at + 1 :]
        if action < 0.2:
            return [*items, items[at]]
        items[at] = _twisted(items[at], rng)
        return items
    if isinstance(value, float | int) and rng.random() < 0.5:
        return rng.choice(_HOSTILE_NUMBERS)
    return value if top else rng.choice(_HOSTILE)


_STARTS = {"exif": _exif, "xmp": _xmp, "csv": _csv, "geojson": _geojson, "frames": _frames}


def _csv_findings() -> list[bytes]:
    zero = b"\x00"
    return [
        # A zero byte in an extra column made the registration of the whole manifest fail.
        b"file,weather\na.jpg," + zero + b"\n",
        # A zero byte in a column name, which the message about missing columns repeats.
        zero * 7 + b",lat,weather\na.jpg,1,2\n",
        # The six characters of an escape, from which invalid JSON was made.
        rb"file,note" + b"\n" + rb"a.jpg,\u0000" + b"\n",
        # A cell over the csv module's limit stopped reading between two pages of rows.
        b"file,note\na.jpg,1\na.jpg," + b"x" * 140_000 + b"\nb.jpg,2\n",
        # Invalid UTF-8 after many valid rows.
        b"file\n" + b"a.jpg\n" * 50 + b"\xff\n",
        b"file\na.jpg\n\xe2\x82",
    ]


def _geojson_findings() -> list[bytes]:
    whole = '{"type":"FeatureCollection","features":[{"properties":{"file":"%s","note":"%s"}}]}'
    return [
        # Lone surrogates in an attribute, and in the name of an existing file.
        (whole % ("a.jpg", "\\u0000\\ud800")).encode(),
        (whole % ("\\udcff.jpg", "")).encode(),
    ]


def _frames_findings() -> list[bytes]:
    org, point = ORG_A.bytes, UUID(int=7).bytes
    # An empty circle and an empty row reached the engine's handler instead of being rejected.
    short = {"organization_id": org, "circle": []}
    return [
        codec.encode({"verb": "count", "filter": short}),
        codec.encode({"verb": "upsert", "points": [{"id": point}], "channels": []}),
    ]


FINDINGS: dict[str, list[bytes]] = {
    "csv": _csv_findings(),
    "geojson": _geojson_findings(),
    "frames": _frames_findings(),
}
"""Inputs that once failed, by target."""
