"""The demo: a small synthetic gallery goes in, unseen photos are located, table and map come out.

It has a home and a stack of its own, so that its images can never answer for real photos.
Running it again changes nothing: stack and gallery are found, and where the last batch of a source
was that gallery, nothing is sent; otherwise what is known is recognised as such.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any, Final

from pinpoint.cli import demo_report, output
from pinpoint.cli.demo_report import BUNDLE, LOST, NEW
from pinpoint.client import Client
from pinpoint.homes import demo_home
from pinpoint.settings import Places, Settings
from pinpoint.stack import lifecycle
from pinpoint.world.planets import Planet, Unseen, make_planet

Json = dict[str, Any]

LICENCE: Final = "CC0-1.0"
ATTRIBUTION: Final = "synthetic planet of pinpoint.world, seed {seed}"
SOURCES: Final = (("demo street", "street"), ("demo photos", "photo"))
_MARK_FILE: Final = "ingested.json"
MAP: Final = "map.png"


def run_demo(
    settings: Settings | None = None,
    *,
    as_json: bool = False,
    organization: str | None = None,
    preset: str = "demo",
    queries: int = 8,
    seed: int = 7,
    out: Path = Path("demo-out"),
) -> Json:
    """Bring the stack up, ingest the gallery, locate unseen photos, print and draw what was found.

    Args:
        settings: Where the stack lives; by default `demo_settings()`. The gallery lies in `demo`
            below its home.
        as_json: Print one JSON document instead of a table.
        organization: Organisation to act as; without it, the default one.
        preset: Which planet; `tiny` is enough for tests.
        queries: Unseen pictures to locate, every second one a street view.
        seed: Names the planet.
        out: Folder of the map, `map.png`.

    Returns:
        What `--json` prints: `server`, `home`, `ingest`, `photos`, `summary`, `bundle`, `notes`,
        `map`, `try`, `remove`.

    Raises:
        StackError: The embedded stack cannot be brought up.
    """
    settings = _with_bundle(settings or demo_settings())
    lifecycle.up(settings, say=output.note)
    home = settings.places.home
    folder = home / "demo" / f"planet-{preset}-{seed}"
    planet = _draw_planet(folder, preset, seed)
    query_photos = _choose_queries(planet, queries)
    with Client.open(organization=organization, home=home) as client:
        ingested = _ingest_galleries(client, planet)
        answers = [client.locate(query.path, kind=query.kind) for query in query_photos]
        report = demo_report.summed_up(client.server, ingested, query_photos, answers)
    out.mkdir(parents=True, exist_ok=True)
    demo_report.draw_map(report, out / MAP)
    report |= {"map": str(out / MAP), "home": str(home), "try": _next_commands(report, home)}
    report["remove"] = f"pinpoint destroy --home {shlex.quote(str(home))}"
    if as_json:
        output.show_json(report)
    else:
        demo_report.show(report)
    return report


def demo_settings(home: Path | None = None) -> Settings:
    """The settings of the demo's own stack: all parts embedded, a free port on this machine.

    Services that the environment names are those of real photos, so the demo leaves them alone.

    Args:
        home: Its home; by default `.pinpoint-demo` beside the home of real photos.

    Raises:
        Misconfigured: A setting has no usable value.
    """
    settings = Settings.from_environment(home or demo_home(Places().home))
    settings.places = Places(
        home=settings.places.home,
        database_url=None,
        api_database_url=None,
        qdrant_url=None,
        qdrant_api_key=None,
        broker_url=None,
    )
    settings.api = settings.api.model_copy(update={"host": "127.0.0.1", "port": 0})
    # Likewise the bundle: one for real photos need not be in this home.
    settings.encoder = settings.encoder.model_copy(update={"bundle": BUNDLE})
    return settings


def _with_bundle(settings: Settings) -> Settings:
    """For a new stack where nobody has chosen one, the bundle that was trained on such a planet."""
    if "bundle" in settings.encoder.model_fields_set:
        return settings
    groups = {name: getattr(settings, name) for name in Settings.__slots__}
    groups["encoder"] = settings.encoder.model_copy(update={"bundle": BUNDLE})
    return Settings(**groups)


def _draw_planet(folder: Path, preset: str, seed: int) -> Planet:
    bar, task = output.progress(f"drawing planet {seed}")
    with bar:
        return make_planet(
            folder,
            preset=preset,
            seed=seed,
            on_progress=lambda completed, total: bar.update(task, completed=completed, total=total),
        )


def _choose_queries(planet: Planet, queries: int) -> list[Unseen]:
    """Street views and photos in turn, each from another city while there are cities."""
    chosen: list[Unseen] = []
    for kind, share in (("street", queries - queries // 2), ("photo", queries // 2)):
        unseen = [query for query in planet.unseen if query.kind == kind and query.role == "test"]
        cities = list({query.city.number: query for query in reversed(unseen)}.values())[::-1]
        chosen += cities[(kind == "photo") :: 2][:share]
    return chosen


def _ingest_galleries(client: Client, planet: Planet) -> list[Json]:
    """Both galleries, each into its own source, unless that is what was sent last."""
    source_names = {source["name"] for source in client.sources()}
    mark_path = planet.folder / _MARK_FILE
    marks: dict[str, Json] = json.loads(mark_path.read_text()) if mark_path.exists() else {}
    batches = []
    for name, kind in SOURCES:
        manifest = planet.manifests()[f"test-{kind}"]
        if name not in source_names:
            client.add_source(
                name, kind, licence=LICENCE, attribution=ATTRIBUTION.format(seed=planet.seed)
            )
        files = _folder_digest(manifest.parent)
        batch = _find_sent_batch(client, name, files, marks.get(name))
        if batch is None:
            batch = _upload_gallery(client, manifest, name)
            images = client.source(name)["images"]
            marks[name] = {"batch": batch["batch"], "files": files, "images": images}
            mark_path.write_text(json.dumps(marks))
        batches.append(batch)
    return batches


def _folder_digest(folder: Path) -> str:
    """Names the files of a folder: their paths and sizes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _find_sent_batch(client: Client, source: str, files: str, mark: Json | None) -> Json | None:
    """The batch that brought these files, if it was the source's last one and all is there."""
    if mark is None or mark["files"] != files:
        return None
    source_batches = [
        batch for batch in client.batches(500)["batches"] if batch["source"] == source
    ]
    if (
        not source_batches
        or source_batches[0]["id"] != mark["batch"]
        or not source_batches[0]["complete"]
    ):
        return None
    lost = sum(source_batches[0][name] for name in LOST)
    if lost or client.source(source)["images"] != mark["images"]:
        return None
    zeros = dict.fromkeys((*NEW, *LOST), 0)
    items = source_batches[0]["items"]
    counts = {"items": items, "duplicate": items}
    return {"source": source, "batch": mark["batch"], **zeros, **counts}


def _upload_gallery(client: Client, manifest: Path, source: str) -> Json:
    bar, task = output.progress(source)

    def show_progress(batch: Json) -> None:
        bar.update(task, total=batch["items"], completed=_count_processed(batch))

    with bar:
        batch = client.ingest_folder(manifest, source=source, wait=True, on_progress=show_progress)
    counts = {name: batch[name] for name in ("items", *NEW, "duplicate", *LOST)}
    return {"source": source, "batch": batch["id"], **counts}


def _count_processed(batch: Json) -> int:
    return sum(batch[name] for name in ("indexed", "updated", "duplicate", "rejected", "failed"))


def _next_commands(report: Json, home: Path) -> list[str]:
    """Commands that work as they are; each asks for the operator's key of this machine itself."""
    pinpoint = f"pinpoint --home {shlex.quote(str(home))}"
    server, photos = report["server"], report["photos"]
    curl = f'curl -s -H "Authorization: Bearer $({pinpoint} key)"'
    lines = [f"curl -s {server}/health/ready"]
    if photos:
        lines.append(f"{pinpoint} locate {shlex.quote(str(Path(photos[0]['photo']).resolve()))}")
        photo = shlex.quote(f"photo=@{Path(photos[0]['photo']).resolve()}")
        lines.append(f"{curl} -F {photo} {server}/v1/locate")
    cited = [citation["image_id"] for entry in photos for citation in entry["cited"]]
    if cited:
        lines.append(f"{curl} -o cited.jpg {server}/v1/images/{cited[0]}/thumbnail")
    return lines
