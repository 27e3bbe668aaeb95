"""The demo: a small synthetic gallery goes in, unseen photos are located, a table comes out.

Running it again changes nothing: stack and gallery are found, and where the last batch of a source
was that gallery, nothing is sent; otherwise what is known is recognised as such.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any, Final

from pinpoint.cli import output
from pinpoint.client import Client
from pinpoint.errors import NotAuthenticated
from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.gazetteer import City
from pinpoint.records import Point
from pinpoint.settings import Settings
from pinpoint.stack import lifecycle
from pinpoint.world.cities import nearest_city
from pinpoint.world.planets import Planet, Unseen, make_planet

Json = dict[str, Any]

BUNDLE: Final = "world-tiny"
LICENCE: Final = "CC0-1.0"
ATTRIBUTION: Final = "synthetic planet of pinpoint.world, seed {seed}"
SOURCES: Final = (("demo street", "street"), ("demo photos", "photo"))
PLANET_NOTE: Final = (
    "The planet is synthetic: drawn scenes at the coordinates of real cities. The figures show "
    "that the chain works, not how well real photos are located."
)
OWN_NOTE: Final = "Before you bring in photos of your own: pinpoint bundles use descriptor"
COLUMNS: Final = (
    "asked",
    "taken near",
    "answer (lat, lon °)",
    "near",
    ">error km",
    ">50 % km",
    ">90 % km",
    "cited",
    ">ms",
)
_MARK: Final = "ingested.json"
_NEW, _LOST = ("indexed", "updated"), ("rejected", "failed")


def run_demo(
    settings: Settings | None = None,
    *,
    as_json: bool = False,
    organization: str | None = None,
    preset: str = "demo",
    queries: int = 8,
    seed: int = 7,
) -> Json:
    """Bring the stack up, ingest the gallery, locate unseen photos and print what was found.

    Args:
        settings: Where the stack lives, from the environment by default; the gallery lies in
            `demo` below its home.
        as_json: Print one JSON document instead of a table.
        organization: Organisation to act as; without it, the default one.
        preset: Which planet; `tiny` is enough for tests.
        queries: Unseen pictures to locate, every second one a street view.
        seed: Names the planet.

    Returns:
        What `--json` prints: `server`, `ingest`, `photos`, `summary`, `bundle`, `notes`, `try`.

    Raises:
        StackError: The embedded stack cannot be brought up.
    """
    settings = _with_bundle(settings or Settings.from_environment())
    lifecycle.up(settings, say=output.note)
    folder = settings.places.home / "demo" / f"planet-{preset}-{seed}"
    planet = _planet(folder, preset, seed)
    asked = _asked(planet, queries)
    with Client.open(organization=organization) as client:
        ingested = _ingest(client, planet)
        answers = [client.locate(one.path, kind=one.kind) for one in asked]
        report = _report(client.server, ingested, asked, answers)
    report["try"] = _lines_to_try(report)
    if as_json:
        output.show_json(report)
    else:
        _show(report)
    return report


def _with_bundle(settings: Settings) -> Settings:
    """For a new stack where nobody has chosen one, the bundle that was trained on such a planet."""
    if "bundle" in settings.encoder.model_fields_set:
        return settings
    groups = {name: getattr(settings, name) for name in Settings.__slots__}
    groups["encoder"] = settings.encoder.model_copy(update={"bundle": BUNDLE})
    return Settings(**groups)


def _planet(folder: Path, preset: str, seed: int) -> Planet:
    bar, task = output.progress(f"drawing planet {seed}")
    with bar:
        return make_planet(
            folder,
            preset=preset,
            seed=seed,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _asked(planet: Planet, queries: int) -> list[Unseen]:
    """Street views and photos in turn, each from another city while there are cities."""
    chosen: list[Unseen] = []
    for kind, share in (("street", queries - queries // 2), ("photo", queries // 2)):
        own = [one for one in planet.unseen if one.kind == kind and one.role == "test"]
        cities = list({one.city.number: one for one in reversed(own)}.values())[::-1]
        chosen += cities[(kind == "photo") :: 2][:share]
    return chosen


def _ingest(client: Client, planet: Planet) -> list[Json]:
    """Both galleries, each into its own source, unless that is what was sent last."""
    known = {source["name"] for source in client.sources()}
    mark = planet.folder / _MARK
    marks: dict[str, Json] = json.loads(mark.read_text()) if mark.exists() else {}
    batches = []
    for name, kind in SOURCES:
        manifest = planet.manifests()[f"test-{kind}"]
        if name not in known:
            client.add_source(
                name, kind, licence=LICENCE, attribution=ATTRIBUTION.format(seed=planet.seed)
            )
        files = _digest(manifest.parent)
        done = _sent_before(client, name, files, marks.get(name))
        if done is None:
            done = _upload(client, manifest, name)
            images = client.source(name)["images"]
            marks[name] = {"batch": done["batch"], "files": files, "images": images}
            mark.write_text(json.dumps(marks))
        batches.append(done)
    return batches


def _digest(folder: Path) -> str:
    """Names the files of a folder: their paths and sizes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _sent_before(client: Client, source: str, files: str, mark: Json | None) -> Json | None:
    """The batch that brought these files, if it was the source's last one and all is there."""
    if mark is None or mark["files"] != files:
        return None
    own = [one for one in client.batches(500)["batches"] if one["source"] == source]
    if not own or own[0]["id"] != mark["batch"] or not own[0]["complete"]:
        return None
    lost = sum(own[0][name] for name in _LOST)
    if lost or client.source(source)["images"] != mark["images"]:
        return None
    nothing = dict.fromkeys((*_NEW, *_LOST), 0)
    items = own[0]["items"]
    known = {"items": items, "duplicate": items}
    return {"source": source, "batch": mark["batch"], **nothing, **known}


def _upload(client: Client, manifest: Path, source: str) -> Json:
    bar, task = output.progress(source)

    def moved(batch: Json) -> None:
        bar.update(task, total=batch["items"], completed=_settled(batch))

    with bar:
        batch = client.ingest_folder(manifest, source=source, wait=True, on_progress=moved)
    counts = {name: batch[name] for name in ("items", *_NEW, "duplicate", *_LOST)}
    return {"source": source, "batch": batch["id"], **counts}


def _settled(batch: Json) -> int:
    return sum(batch[name] for name in ("indexed", "updated", "duplicate", "rejected", "failed"))


def _report(server: str, ingested: list[Json], asked: list[Unseen], answers: list[Json]) -> Json:
    photos = [_line(query, answer) for query, answer in zip(asked, answers, strict=True)]
    errors_km = sorted(line["error_km"] for line in photos if line["error_km"] is not None)
    near, city = (sum(error_km <= within for error_km in errors_km) for within in (1.0, 25.0))
    notes = [PLANET_NOTE]
    if answers:
        notes += [answers[0]["bundle"]["note"], answers[0]["calibration_note"]]
        if answers[0]["bundle"]["name"] == BUNDLE:
            notes.append(OWN_NOTE)
    return {
        "server": server,
        "ingest": ingested,
        "photos": photos,
        "summary": {"photos": len(photos), "within_1_km": near, "within_25_km": city},
        "bundle": answers[0]["bundle"] if answers else None,
        "ranker": answers[0]["ranker"] if answers else None,
        "notes": notes,
    }


def _line(query: Unseen, answer: Json) -> Json:
    """One photo: what was said, what is true, and how far apart they are."""
    point, place, error_km = None, None, None
    if answer["point"] is not None:
        point = Point(lat=answer["point"]["lat"], lon=answer["point"]["lon"])
        place = _named(nearest_city(point))
        error_km = geodesic_m(point, query.point) / 1_000
    radii = {f"{region['mass']:.0%}": region["radius_m"] / 1_000 for region in answer["regions"]}
    cited = [one for kind in answer["citations"].values() for one in kind]
    return {
        "photo": str(query.path),
        "kind": query.kind,
        "truth": {"lat": query.point.lat, "lon": query.point.lon, "place": _named(query.city)},
        "answer": point and {"lat": point.lat, "lon": point.lon, "place": place},
        "error_km": error_km,
        "radius_km": radii,
        "cited": [
            {name: one[name] for name in ("image_id", "kind", "source", "licence", "distance_m")}
            for one in cited
        ],
        "ms": answer["timings_ms"].get("total", sum(answer["timings_ms"].values())),
    }


def _named(city: City) -> str:
    return f"{city.name}, {city.country}"


def _show(report: Json) -> None:
    output.table(None, COLUMNS, [_row(line) for line in report["photos"]])
    new = sum(one[name] for one in report["ingest"] for name in _NEW)
    known = sum(one["duplicate"] for one in report["ingest"])
    lost = sum(one[name] for one in report["ingest"] for name in _LOST)
    summary = report["summary"]
    output.say("50 %, 90 %: radius in km of the disc with so much probability; uncalibrated: vote")
    output.say("cited: how many gallery images speak for the answer; their ids by --json")
    output.say("")
    output.say(f"ingested: {new} new, {known} known, {lost} rejected or failed")
    output.say(
        f"located within 1 km: {summary['within_1_km']} of {summary['photos']},"
        f" within 25 km: {summary['within_25_km']}"
    )
    for note in report["notes"]:
        output.say(note)
    output.say("")
    output.say(f"go on at {report['server']} (all routes: {report['server']}/openapi.json); try:")
    for line in report["try"]:
        output.say(f"  {line}")


def _row(line: Json) -> tuple[str, ...]:
    answer, error_km = line["answer"], line["error_km"]
    kinds = [one["kind"] for one in line["cited"]]
    cited = " ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    return (
        line["kind"],
        line["truth"]["place"],
        f"{answer['lat']:.4f}, {answer['lon']:.4f}" if answer else "no answer",
        answer["place"] if answer else "–",
        "–" if error_km is None else output.kilometres(error_km * 1_000),
        *(_radius(line, mass) for mass in ("50%", "90%")),
        cited or "–",
        f"{line['ms']:.0f}",
    )


def _radius(line: Json, mass: str) -> str:
    radius_km = line["radius_km"].get(mass)
    return "–" if radius_km is None else output.kilometres(radius_km * 1_000)


def _lines_to_try(report: Json) -> list[str]:
    """Commands that work as they stand, with a key's place where the stack has keys."""
    server, photos = report["server"], report["photos"]
    curl = f"curl -s{_key_header(server)}"
    lines = [f"{curl} {server}/health/ready"]
    if "PINPOINT_KEY" in curl:
        lines.insert(0, "export PINPOINT_KEY=$(pinpoint keys create demo --scope locate,read)")
    if photos:
        photo = shlex.quote(f"photo=@{Path(photos[0]['photo']).resolve()}")
        lines.append(f"{curl} -F {photo} {server}/v1/locate")
    cited = [one["image_id"] for line in photos for one in line["cited"]]
    if cited:
        lines.append(f"{curl} -o cited.jpg {server}/v1/images/{cited[0]}/thumbnail")
    return lines


def _key_header(server: str) -> str:
    try:
        with Client.open(server) as nobody:
            nobody.sources()
    except NotAuthenticated:
        return ' -H "Authorization: Bearer $PINPOINT_KEY"'
    return ""
