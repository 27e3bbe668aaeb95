"""The painter of the planet in images per second, and what evaluating costs over bare search."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil

from bench.stack import Say, Stack
from pinpoint.bootstrap import Services, build_services
from pinpoint.evaluation.labels.labels import LabeledQueries, read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run.evaluate import (
    EvaluationComponents,
    RunConfig,
    build_context,
    evaluate,
)
from pinpoint.media.files import read_bytes
from pinpoint.records import SearchFilter
from pinpoint.search.candidates_and_evidence import encode_photos
from pinpoint.search.context import QueryPhoto
from pinpoint.search.pipeline import locate_encoded
from pinpoint.synthetic.capture_patterns import Shot, generate_shots
from pinpoint.synthetic.dataset import make_planet
from pinpoint.synthetic.labels import exif_label
from pinpoint.synthetic.photographs import encode_photograph
from pinpoint.synthetic.presets import PRESETS
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.shot_rendering import render_shots

SEED, PAINTED, LOOK_S = 7, 4_096, 0.01
TARGET_IMAGES_PER_S, TARGET_OVERHEAD = 1_000, 1.1
_DRAW = "from pathlib import Path; from pinpoint.synthetic.dataset import make_planet; import sys; "
_DRAW += f"make_planet(Path(sys.argv[1]), preset='demo', seed={SEED})"


def measure_rendering(folder: Path, repetitions: int, say: Say) -> dict[str, object]:
    """Images/s in memory and into files, the cost of writing JPEG alone, and peak memory."""
    preset, planned = PRESETS["bench"], _planned_shots("bench")[:PAINTED]
    painted_s, files_s, peaks = [], [], []
    for number in range(repetitions):
        begun = time.perf_counter()
        painted = render_shots(SEED, planned, preset)
        painted_s.append(time.perf_counter() - begun)
        seconds, peak = _draw_in_process(folder / str(number))
        files_s.append(seconds)
        peaks.append(peak)
        say(f"planet: {number + 1} of {repetitions} repetitions")
    begun = time.perf_counter()
    for shot, pixels in zip(planned, painted, strict=True):
        encode_photograph(pixels, exif_label(SEED, shot))
    files = len(_planned_shots("demo"))
    return {
        "side_px": preset.side_px,
        "painted_per_s": round(PAINTED / median(painted_s)),
        "jpeg_per_s_one_thread": round(PAINTED / (time.perf_counter() - begun)),
        "files": files,
        "files_per_s": round(files / median(files_s)),
        "peak_mib": round(max(peaks)),
    }


def _planned_shots(name: str) -> list[Shot]:
    """Shots of a preset, all of one shape."""
    preset = PRESETS[name]
    return [
        shot
        for site in choose_sites(SEED, preset)
        for shot in generate_shots(SEED, site, preset.towns[site.role], preset.habits)
        if not shot.panorama
    ]


def _draw_in_process(folder: Path) -> tuple[float, float]:
    """Seconds and peak resident MiB of a process that writes the demo's planet to files."""
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-P", "-c", _DRAW, str(folder)])
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, seen.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(LOOK_S)
    if process.wait():
        raise RuntimeError(f"the planet was not drawn: exit code {process.returncode}")
    return time.perf_counter() - begun, peak / 2**20


def measure_overhead(running: Stack, repetitions: int, say: Say) -> dict[str, object]:
    """`evaluate` against a loop over the same queries and search flow that stores nothing."""
    home = running.paths.home
    services = build_services(running.settings, "operator")
    plan = _gallery(running, services)
    labeled = read_labels(PROTOCOLS["synthetic"], home / "planet" / "queries" / "labels.csv")
    parts = _parts(services)
    took: dict[str, list[float]] = {"evaluate": [], "bare": []}
    for number in range(repetitions + 1):
        for side in ("evaluate", "bare") if number % 2 else ("bare", "evaluate"):
            begun = time.perf_counter()
            if side == "bare":
                _search_all(labeled, plan, parts)
            else:
                evaluate(labeled, home / f"run-{number}", config=plan, components=parts)
            took[side].append(time.perf_counter() - begun)
        say(f"evaluation: {number} of {repetitions} repetitions")
    services.close()
    # The first repetition warms weights and connections.
    pairs = list(zip(took["evaluate"][1:], took["bare"][1:], strict=True))
    count = len(labeled.queries)
    return {
        "questions": count,
        "tower": running.tower,
        "evaluate_ms": round(1e3 * median(evaluate_s for evaluate_s, _ in pairs) / count, 2),
        "bare_ms": round(1e3 * median(bare_s for _, bare_s in pairs) / count, 2),
        "ratio": round(median(evaluate_s / bare_s for evaluate_s, bare_s in pairs), 3),
        "resident_mib": round(psutil.Process().memory_info().rss / 2**20),
    }


def _gallery(running: Stack, services: Services) -> RunConfig:
    """Ingest the demo's planet; the run has one arm, like the bare loop."""
    planet = make_planet(running.paths.home / "planet", preset="demo", seed=SEED)
    organization = services.api_keys.create_organization("planet").id
    with running.workers(1), running.client("planet") as client:
        for kind in ("street", "photo"):
            client.add_source(kind, kind, license="CC0-1.0", attribution="synthetic planet")
            manifest = planet.manifests()[f"test-{kind}"]
            client.ingest_folder(manifest, source=kind, wait=True)
    images = planet.folder / "queries" / "images"
    return RunConfig(organization_id=organization, images=images, exclude=())


def _parts(services: Services) -> EvaluationComponents:
    return EvaluationComponents(
        decoder=services.decoder,
        encoder=services.encoder,
        index=services.index,
        database=services.database,
        search=services.settings.search,
        max_bytes=services.settings.media.max_bytes,
    )


def _search_all(labeled: LabeledQueries, plan: RunConfig, parts: EvaluationComponents) -> None:
    for query in labeled.queries:
        photo = QueryPhoto(
            data=read_bytes(plan.images / query.file, parts.max_bytes),
            file=query.file,
            kind=query.query_kind,
        )
        context = build_context(plan, replace(parts, reranker=None))
        encoded = encode_photos([photo], parts.decoder, parts.encoder, context.stopwatch)
        locate_encoded(encoded.vector, SearchFilter(), context)
