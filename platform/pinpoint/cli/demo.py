"""The demo: ingests a small synthetic gallery, locates unseen photos, prints a table and a map.

The demo has its own home and stack, so its images never appear in answers about real photos.
A second run changes nothing: it uses the existing stack and gallery. It sends no files if the last
batch of a source was that gallery; otherwise the server recognizes known files as duplicates.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Final

from pinpoint.cli import demo_report, output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.demo_report import BUNDLE, LOST_STATES, NEW_STATES
from pinpoint.homes import demo_home, photo_demo_home
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.supervisor import lifecycle
from pinpoint.synthetic.dataset import (
    Planet,
    PlanetQuery,
    make_planet,
)
from pinpoint_client.transport import Json

LICENSE: Final = "CC0-1.0"
ATTRIBUTION: Final = "synthetic planet of pinpoint.synthetic, seed {seed}"
SOURCES: Final = (("demo street", "street"), ("demo photos", "photo"))
_MARK_FILE: Final = "ingested.json"
MAP_FILE: Final = "map.png"


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
    """Start the stack, ingest the gallery, locate unseen photos, and print and draw the results.

    Args:
        settings: Settings of the stack; `demo_settings()` by default. The gallery is stored in the
            folder `demo` of its home.
        as_json: Print one JSON document instead of a table.
        organization: Organization to act as; the default organization if None.
        preset: Size of the planet; `tiny` is enough for tests.
        queries: Number of unseen photos to locate; every second one is a street view.
        seed: Seed of the planet.
        out: Folder of the map, `map.png`.

    Returns:
        The document that `--json` prints: `server`, `home`, `ingest`, `photos`, `summary`,
        `bundle`, `notes`, `map`, `try`, `remove`.

    Raises:
        StackError: The embedded stack cannot be started.
    """
    settings = _with_bundle(settings or demo_settings())
    lifecycle.start_stack(settings, on_message=output.warn)
    home = settings.services.home
    folder = home / "demo" / f"planet-{preset}-{seed}"
    planet = _draw_planet(folder, preset, seed)
    query_photos = _choose_queries(planet, queries)
    with ApiClient.open(organization=organization, home=home) as client:
        ingested = _ingest_galleries(client, planet)
        answers = [client.locate(query.path, query_kind=query.kind) for query in query_photos]
        report = demo_report.summarize_demo(client.server, ingested, query_photos, answers)
    out.mkdir(parents=True, exist_ok=True)
    demo_report.draw_map(report, out / MAP_FILE)
    report |= {"map": str(out / MAP_FILE), "home": str(home), "try": _next_commands(report, home)}
    report["remove"] = f"pinpoint destroy --home {shlex.quote(str(home))}"
    if as_json:
        output.print_json(report)
    else:
        demo_report.show_demo(report)
    return report


def demo_settings(home: Path | None = None) -> Settings:
    """Settings of the demo's own stack: all components embedded, a free port on this machine.

    The environment may name services with real photos, so the demo does not use them.

    Args:
        home: Home of the demo; by default `.pinpoint-demo` next to the home of real photos.

    Raises:
        ConfigurationError: A setting has no usable value.
    """
    settings = _own_services(home or demo_home(ServiceSettings().home))
    # The bundle is fixed too: a bundle for real photos may be missing in this home.
    settings.encoder = settings.encoder.model_copy(update={"bundle": BUNDLE})
    return settings


def photo_demo_settings(home: Path | None = None) -> Settings:
    """Settings of the stack of the demo on real photos, with the configured bundle.

    Args:
        home: Home of the demo; by default `.pinpoint-photos-demo` next to the home of real photos.

    Raises:
        ConfigurationError: A setting has no usable value.
    """
    return _own_services(home or photo_demo_home(ServiceSettings().home))


def _own_services(home: Path) -> Settings:
    settings = load_settings(home)
    settings.services = ServiceSettings(
        home=settings.services.home,
        database_url=None,
        api_database_url=None,
        qdrant_url=None,
        qdrant_api_key=None,
        broker_url=None,
    )
    settings.api = settings.api.model_copy(update={"host": "127.0.0.1", "port": 0})
    return settings


def _with_bundle(settings: Settings) -> Settings:
    """Select the bundle trained on such a planet, unless the settings name a bundle."""
    if "bundle" in settings.encoder.model_fields_set:
        return settings
    groups = {name: getattr(settings, name) for name in Settings.__slots__}
    groups["encoder"] = settings.encoder.model_copy(update={"bundle": BUNDLE})
    return Settings(**groups)


def _draw_planet(folder: Path, preset: str, seed: int) -> Planet:
    bar, task = output.open_progress_bar(f"creating planet {seed}")
    with bar:
        return make_planet(
            folder,
            preset=preset,
            seed=seed,
            on_progress=lambda completed, total: bar.update(task, completed=completed, total=total),
        )


def _choose_queries(planet: Planet, queries: int) -> list[PlanetQuery]:
    """Choose street views and photos, each from a different city while cities remain."""
    chosen: list[PlanetQuery] = []
    for kind, share in (("street", queries - queries // 2), ("photo", queries // 2)):
        test_queries = [
            query for query in planet.queries if query.kind == kind and query.role == "test"
        ]
        cities = list({query.city.number: query for query in reversed(test_queries)}.values())[::-1]
        chosen += cities[(kind == "photo") :: 2][:share]
    return chosen


def _ingest_galleries(client: ApiClient, planet: Planet) -> list[Json]:
    """Ingest both galleries, each into its own source, unless it was the last batch sent."""
    source_names = {source["name"] for source in client.sources()}
    mark_path = planet.folder / _MARK_FILE
    marks: dict[str, Json] = json.loads(mark_path.read_text()) if mark_path.exists() else {}
    batches = []
    for name, kind in SOURCES:
        manifest = planet.manifests()[f"test-{kind}"]
        if name not in source_names:
            client.add_source(
                name, kind, license=LICENSE, attribution=ATTRIBUTION.format(seed=planet.seed)
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
    """Digest of the paths and sizes of the files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _find_sent_batch(client: ApiClient, source: str, files: str, mark: Json | None) -> Json | None:
    """Counts of the batch with these files, if it is the source's last and no image is missing."""
    if mark is None or mark["files"] != files:
        return None
    batches = client.batches(500)["batches"]
    last = next((batch for batch in batches if batch["source"] == source), None)
    if last is None or last["id"] != mark["batch"] or not last["is_processed"]:
        return None
    lost = sum(last[name] for name in LOST_STATES)
    if lost or client.source(source)["images"] != mark["images"]:
        return None
    zeros = dict.fromkeys((*NEW_STATES, *LOST_STATES), 0)
    counts = {"items": last["items"], "duplicate": last["items"]}
    return {"source": source, "batch": mark["batch"], **zeros, **counts}


def _upload_gallery(client: ApiClient, manifest: Path, source: str) -> Json:
    bar, task = output.open_progress_bar(source)

    def show_progress(batch: Json) -> None:
        bar.update(task, total=batch["items"], completed=_count_processed(batch))

    with bar:
        batch = client.ingest_folder(manifest, source=source, wait=True, on_progress=show_progress)
    counts = {name: batch[name] for name in ("items", *NEW_STATES, "duplicate", *LOST_STATES)}
    return {"source": source, "batch": batch["id"], **counts}


def _count_processed(batch: Json) -> int:
    return sum(batch[name] for name in ("indexed", "updated", "duplicate", "rejected", "failed"))


def _next_commands(report: Json, home: Path) -> list[str]:
    """Commands to run next, unchanged; each one gets the operator's key of this machine itself."""
    pinpoint = f"pinpoint --home {shlex.quote(str(home))}"
    server, photos = report["server"], report["photos"]
    curl = f'curl -s -H "Authorization: Bearer $({pinpoint} key)"'
    lines = [f"curl -s {server}/health/ready"]
    if photos:
        lines.append(f"{pinpoint} locate {shlex.quote(str(Path(photos[0]['photo']).resolve()))}")
        photo = shlex.quote(f"photo=@{Path(photos[0]['photo']).resolve()}")
        lines.append(f"{curl} -F {photo} {server}/v1/locate")
    cited = [citation["image_id"] for entry in photos for citation in entry["citations"]]
    if cited:
        lines.append(f"{curl} -o cited.jpg {server}/v1/images/{cited[0]}/thumbnail")
    return lines
