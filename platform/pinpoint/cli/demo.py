"""The demo: a small synthetic gallery goes in, unseen photos are located, a table comes out.

Running it again changes nothing: the stack is left as it is, the gallery is found on disk, and
the same files under the same names are recognised as known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pinpoint.cli import output
from pinpoint.client import Client
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point
from pinpoint.settings import Settings
from pinpoint.stack import lifecycle
from pinpoint.world.cities import nearest_city
from pinpoint.world.galleries import Gallery, Query, make_gallery

Json = dict[str, Any]

LICENCE: Final = "CC0-1.0"
ATTRIBUTION: Final = "synthetic planet of pinpoint.world, seed {seed}"
SOURCES: Final = (("demo street", "street"), ("demo photos", "photo"))
PLANET_NOTE: Final = (
    "The planet is synthetic: drawn squares at the coordinates of real cities. The figures show "
    "that the chain works, not how well real photos are located."
)


def run_demo(
    settings: Settings | None = None,
    *,
    as_json: bool = False,
    organization: str | None = None,
    places: int = 25,
    queries: int = 8,
    seed: int = 7,
) -> Json:
    """Bring the stack up, ingest the gallery, locate unseen photos and print what was found.

    Args:
        settings: Where the stack lives, from the environment by default; the gallery lies in
            `demo` below its home.
        as_json: Print one JSON document instead of a table.
        organization: Organisation to act as; without it, the default one.
        places: Places of the gallery, with 6 photos and 8 street pictures each.
        queries: Unseen photos to locate.
        seed: Names the planet.

    Returns:
        What `--json` prints: `server`, `ingest`, `photos`, `summary`, `bundle`, `notes`.

    Raises:
        StackError: The embedded stack cannot be brought up.
    """
    settings = settings or Settings.from_environment()
    lifecycle.up(settings, say=output.note)
    output.note(f"making {places} places of planet {seed}")
    gallery = make_gallery(
        settings.places.home / "demo" / f"planet-{seed}-{places}",
        seed=seed,
        places=places,
        queries=queries,
    )
    with Client.open(organization=organization) as client:
        ingested = _ingest(client, gallery, seed)
        answers = [client.locate(query.path) for query in gallery.queries]
        report = _report(client.server, ingested, gallery, answers)
    if as_json:
        output.show_json(report)
    else:
        _show(report)
    return report


def _ingest(client: Client, gallery: Gallery, seed: int) -> list[Json]:
    """Both folders, each into its own source; known files are recognised as such."""
    known = {source["name"] for source in client.sources()}
    batches = []
    for (name, kind), folder in zip(SOURCES, (gallery.street, gallery.photo), strict=True):
        if name not in known:
            client.add_source(
                name, kind, licence=LICENCE, attribution=ATTRIBUTION.format(seed=seed)
            )
        batches.append(_upload(client, folder, name))
    return batches


def _upload(client: Client, folder: Path, source: str) -> Json:
    bar, task = output.progress(source)

    def moved(batch: Json) -> None:
        bar.update(task, total=batch["items"], completed=_settled(batch))

    with bar:
        batch = client.ingest_folder(folder, source=source, wait=True, on_progress=moved)
    counts = {name: batch[name] for name in ("items", "indexed", "updated", "duplicate")}
    return {
        "source": source,
        "batch": batch["id"],
        **counts,
        "rejected": batch["rejected"],
        "failed": batch["failed"],
    }


def _settled(batch: Json) -> int:
    return sum(batch[name] for name in ("indexed", "updated", "duplicate", "rejected", "failed"))


def _report(server: str, ingested: list[Json], gallery: Gallery, answers: list[Json]) -> Json:
    photos = [_line(query, answer) for query, answer in zip(gallery.queries, answers, strict=True)]
    errors_km = sorted(line["error_km"] for line in photos if line["error_km"] is not None)
    near = sum(error_km <= 1.0 for error_km in errors_km)
    notes = [PLANET_NOTE]
    if answers:
        notes += [answers[0]["bundle"]["note"], answers[0]["calibration_note"]]
    return {
        "server": server,
        "ingest": ingested,
        "photos": photos,
        "summary": {"photos": len(photos), "within_1_km": near},
        "bundle": answers[0]["bundle"] if answers else None,
        "ranker": answers[0]["ranker"] if answers else None,
        "notes": notes,
    }


def _line(query: Query, answer: Json) -> Json:
    """One photo: what was said, what is true, and how far apart they are."""
    point, place, error_km = None, None, None
    if answer["point"] is not None:
        point = Point(lat=answer["point"]["lat"], lon=answer["point"]["lon"])
        city = nearest_city(point)
        place = f"{city.name}, {city.country}"
        error_km = geodesic_m(point, query.point) / 1_000
    radii = {f"{region['mass']:.0%}": region["radius_m"] / 1_000 for region in answer["regions"]}
    cited = [one for kind in answer["citations"].values() for one in kind]
    return {
        "photo": str(query.path),
        "truth": {"lat": query.point.lat, "lon": query.point.lon, "place": query.city},
        "answer": point and {"lat": point.lat, "lon": point.lon, "place": place},
        "error_km": error_km,
        "radius_km": radii,
        "cited": [
            {name: one[name] for name in ("image_id", "kind", "source", "licence", "distance_m")}
            for one in cited
        ],
        "ms": answer["timings_ms"].get("total", sum(answer["timings_ms"].values())),
    }


def _show(report: Json) -> None:
    output.table(
        None,
        ("photo", "answer", "near", ">error", ">50 %", ">90 %", "cited photos", ">ms"),
        [_row(line) for line in report["photos"]],
    )
    new = sum(one["indexed"] + one["updated"] for one in report["ingest"])
    known = sum(one["duplicate"] for one in report["ingest"])
    lost = sum(one["rejected"] + one["failed"] for one in report["ingest"])
    summary = report["summary"]
    output.say("50 % and 90 %: radius of the disc that holds so much of the vote; ids by --json")
    output.say("")
    output.say(f"ingested: {new} new, {known} known, {lost} rejected or failed")
    output.say(f"located within 1 km: {summary['within_1_km']} of {summary['photos']}")
    for note in report["notes"]:
        output.say(note)
    output.say(f"go on at {report['server']}/openapi.json, or: pinpoint locate PHOTO")


def _row(line: Json) -> tuple[str, ...]:
    answer, error_km = line["answer"], line["error_km"]
    kinds = [one["kind"] for one in line["cited"]]
    cited = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    if line["cited"]:
        cited += f" ({line['cited'][0]['image_id'][:8]}…)"
    return (
        Path(line["photo"]).name,
        f"{answer['lat']:.4f}, {answer['lon']:.4f}" if answer else "no answer",
        answer["place"] if answer else "–",
        "–" if error_km is None else output.length(error_km * 1_000),
        *(_radius(line, mass) for mass in ("50%", "90%")),
        cited or "–",
        f"{line['ms']:.0f}",
    )


def _radius(line: Json, mass: str) -> str:
    radius_km = line["radius_km"].get(mass)
    return "–" if radius_km is None else output.length(radius_km * 1_000)
