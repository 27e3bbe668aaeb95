"""Examples at the end of every help text; `tests/cli/test_cli_examples.py` checks completeness.

A command with its own `epilog` keeps it.
"""

from __future__ import annotations

from typing import Final

import typer

_AREA: Final = "5d1f0a0e-7a52-4c62-9b0f-6f2d1c1f6a11"
_BATCH: Final = "3f0c1d9e-6f2a-4d0b-9a51-0c2f6a1b7d10"
_IMAGE: Final = "5850ee6b-adcc-5e20-a130-d8416d2332ff"
_JOB: Final = "3f1f3d1e-5f0a-4a53-9a8a-6c7c7e1f0c55"
_KEY: Final = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
_QUERY: Final = "2c5ea4c0-4067-41e9-8bad-9b1deb4d3b7d"
_WEBHOOK: Final = "0f3cf7ce-6f7f-4c0a-9a36-0a6a4f3a2f10"
_RUN: Final = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "": (
        "pinpoint up",
        "pinpoint ingest ~/photos/trips --source trips --source-kind photo --wait",
        "pinpoint locate ~/photos/where-was-this.jpg",
    ),
    "up": ("pinpoint up", "pinpoint --home /srv/pinpoint up"),
    "down": ("pinpoint down",),
    "status": ("pinpoint status", "pinpoint status --json"),
    "destroy": (
        "pinpoint destroy",
        "pinpoint destroy --home .pinpoint-demo --yes",
        "pinpoint destroy --keep-bundles",
    ),
    "key": ("pinpoint key",),
    "demo": (
        "pinpoint demo",
        "pinpoint demo --photos ~/photos/trips --queries 12",
        "pinpoint demo --home /tmp/pinpoint-demo --out /tmp/map",
    ),
    "config list": ("pinpoint config list", "pinpoint config list --all --json"),
    "config get": ("pinpoint config get api_port",),
    "config set": (
        "pinpoint config set api_port 8080",
        "pinpoint config set PINPOINT_BUNDLE world-tiny",
    ),
    "config unset": ("pinpoint config unset api_port",),
    "config path": ("pinpoint config path",),
    "ingest": (
        "pinpoint ingest ~/photos/trips --source trips --source-kind photo --wait",
        "pinpoint ingest ~/street --source walk --manifest positions.csv",
        "pinpoint ingest /mnt/osv5m/images --source osv --source-kind street --manifest train.csv",
        "pinpoint ingest ~/street --source walk --manifest ~/qgis/positions.gpkg",
        "pinpoint ingest s3://survey/flights/2026/ --source survey --source-kind photo --wait",
        "pinpoint ingest list.jsonl --source survey",
        "pinpoint --server https://pinpoint.example.org --key KEY ingest photos --source trips",
    ),
    "webhooks add": (
        "pinpoint webhooks add https://example.org/pinpoint-events",
        "pinpoint webhooks add https://example.org/events --event-type batch.closed",
    ),
    "webhooks list": ("pinpoint webhooks list", "pinpoint webhooks list --json"),
    "webhooks show": (f"pinpoint webhooks show {_WEBHOOK}",),
    "webhooks update": (f"pinpoint webhooks update {_WEBHOOK} --enable",),
    "webhooks delete": (f"pinpoint webhooks delete {_WEBHOOK}",),
    "webhooks rotate-secret": (f"pinpoint webhooks rotate-secret {_WEBHOOK}",),
    "webhooks test": (f"pinpoint webhooks test {_WEBHOOK}",),
    "validate": ("pinpoint validate ~/photos/trips", "pinpoint validate photo.jpg --json"),
    "verify-dossier": ("pinpoint verify-dossier answer.zip --photo photo.jpg",),
    "locate": (
        "pinpoint locate photo.jpg",
        "pinpoint locate photo.jpg --center 48.85,2.35 --radius 20000 --explain",
        "pinpoint locate photo.jpg --bbox 2.2,48.8,2.5,48.9 --datetime 2024-01-01T00:00:00Z/..",
        "pinpoint locate *.jpg --in-source trips --json",
        "pinpoint locate photo.jpg --dossier answer.zip",
        "pinpoint locate photo.jpg --geojson",
    ),
    "search": (
        'pinpoint search --text "a red phone box" --country GB',
        "pinpoint search --photo photo.jpg --text snow --weight photo=0.7 --weight text=0.3",
        "pinpoint search --point 48.8566,2.3522 --max-groups 5",
    ),
    "similar": (
        "pinpoint similar photo.jpg --max-groups 5",
        f"pinpoint similar --image {_IMAGE}",
        "pinpoint similar photo.jpg --geojson",
    ),
    "queries": ("pinpoint queries list",),
    "queries list": ("pinpoint queries list", "pinpoint queries list --json"),
    "queries delete": (f"pinpoint queries delete {_QUERY}",),
    "jobs create": (
        "pinpoint jobs create ~/photos/unknown --wait",
        """pinpoint jobs create photos.jsonl --parameters '{"top": 3}'""",
        f"pinpoint jobs create ~/photos/unknown --resume {_JOB}",
    ),
    "jobs list": ("pinpoint jobs list --page-size 5",),
    "jobs show": (f"pinpoint jobs show {_JOB} --state failed",),
    "jobs wait": (f"pinpoint jobs wait {_JOB}",),
    "jobs results": (
        f"pinpoint jobs results {_JOB} -o results.ndjson",
        f"pinpoint jobs results {_JOB} -o results.parquet",
    ),
    "jobs cancel": (f"pinpoint jobs cancel {_JOB}",),
    "jobs delete": (f"pinpoint jobs delete {_JOB}",),
    "neighbors": (
        "pinpoint neighbors --point 48.8584,2.2945 --neighbor-radius 500",
        "pinpoint neighbors --points stations.csv --per-kind 3 --json",
    ),
    "coverage": (
        "pinpoint coverage --resolution 4",
        "pinpoint coverage --resolution 3 --png coverage.png",
        "pinpoint coverage --bbox 2.2,48.8,2.5,48.9 --resolution 7 --geojson",
    ),
    "gaps": (
        "pinpoint gaps --missing-kind street --min-images 100",
        "pinpoint gaps --resolution 6 --geojson",
    ),
    "images looking-at": ("pinpoint images looking-at 48.8584,2.2945 --distance 500",),
    "evaluate": (
        "pinpoint evaluate synthetic --images planet --concurrency 2",
        "pinpoint evaluate custom --images test-photos --labels test-photos/labels.csv "
        "--out runs/test",
    ),
    "bench": (
        "pinpoint bench speed --only locate --sizes 10000,100000 --json speed.json",
        "pinpoint bench reranker --home .pinpoint/rerank",
        "pinpoint bench speed --help",
    ),
    "compare": ("pinpoint compare runs/before runs/after",),
    "calibrate": (
        "pinpoint calibrate runs/calibration",
        "pinpoint calibrate runs/calibration --outside-share 0.2 --json",
        "pinpoint calibrate --from-gallery",
        "pinpoint calibrate --from-gallery --verify 8",
        "pinpoint calibrate --from-gallery --outside-share 0.25 --max-queries 4000 "
        "--concurrency 2 --out runs/gallery",
        "pinpoint calibrate --verification",
        "pinpoint calibrate --verification --false-match-rate 0.0005 --pairs 40000 --json",
    ),
    "backup": ("pinpoint backup pinpoint-monday.tar", "pinpoint backup /mnt/backups/monday"),
    "restore": (
        "pinpoint restore pinpoint-monday.tar",
        "pinpoint restore pinpoint-monday.tar --replace",
    ),
    "audit": ("pinpoint audit list",),
    "audit list": (
        "pinpoint audit list --operation locate",
        f"pinpoint audit list --key-id {_KEY} --datetime 2026-05-01T00:00:00Z/.. --json",
    ),
    "orgs create": ("pinpoint orgs create acme",),
    "orgs list": ("pinpoint orgs list",),
    "orgs disable": ("pinpoint orgs disable acme",),
    "orgs delete": ("pinpoint orgs delete acme",),
    "keys create": (
        "pinpoint keys create laptop --scope locate --scope read",
        "pinpoint keys create press --scope locate --granularity country",
        "pinpoint --org acme keys create uploader --role contributor --expires 90d",
    ),
    "keys list": ("pinpoint keys list",),
    "keys rotate": (f"pinpoint keys rotate {_KEY} --overlap 3600",),
    "keys limits": (f"pinpoint keys limits {_KEY}",),
    "keys set-limits": (
        f"pinpoint keys set-limits {_KEY} --requests-per-minute 600 --photos-per-day 1000",
    ),
    "keys clear-limits": (f"pinpoint keys clear-limits {_KEY}",),
    "protected-areas list": ("pinpoint protected-areas list",),
    "protected-areas show": (f"pinpoint protected-areas show {_AREA} --json",),
    "protected-areas add": (
        "pinpoint protected-areas add nests nests.geojson --granularity radius "
        "--min-radius-m 5000 --purpose 'breeding season'",
    ),
    "protected-areas replace": (
        f"pinpoint protected-areas replace {_AREA} nests nests.geojson --granularity refuse "
        "--purpose 'breeding season'",
    ),
    "protected-areas delete": (f"pinpoint protected-areas delete {_AREA}",),
    "keys revoke": (f"pinpoint keys revoke {_KEY}",),
    "sources add": (
        'pinpoint sources add trips --source-kind photo --license "CC BY 4.0" --attribution "me"',
    ),
    "sources list": ("pinpoint sources list",),
    "sources delete": ("pinpoint sources delete trips",),
    "sources update": ("pinpoint sources update trips --image-access thumbnail",),
    "sources roots": ("pinpoint sources roots trips",),
    "sources move-root": ("pinpoint sources move-root trips main /mnt/photos/trips",),
    "sources missing": ("pinpoint sources missing trips",),
    "batches list": ("pinpoint batches list --page-size 5",),
    "batches show": (
        f"pinpoint batches show {_BATCH}",
        f"pinpoint batches show {_BATCH} --status rejected",
    ),
    "batches retry": (f"pinpoint batches retry {_BATCH}",),
    "batches cancel": (f"pinpoint batches cancel {_BATCH}",),
    "batches wait": (f"pinpoint batches wait {_BATCH}",),
    "images show": (f"pinpoint images show {_IMAGE}",),
    "images update": (
        f"pinpoint images update {_IMAGE} --lat 48.8584 --lon 2.2945",
        f"pinpoint images update {_IMAGE} --captured-at 2024-05-01T14:30:00+02:00",
    ),
    "images import-metadata": (
        "pinpoint images import-metadata corrections.csv --report result.csv",
        "pinpoint images import-metadata ~/qgis/moved.gpkg --source trips --json",
    ),
    "images download": (
        f"pinpoint images download {_IMAGE} -o photo.jpg",
        f"pinpoint images download {_IMAGE} -o face.jpg --width 800",
        f"pinpoint images download {_IMAGE} -o sphere.jpg --panorama",
    ),
    "images delete": (f"pinpoint images delete {_IMAGE}",),
    "export": (
        "pinpoint export -o gallery.parquet",
        "pinpoint export -o trips.gpkg --in-source trips",
        "pinpoint export -o vectors.parquet --embeddings image --json",
    ),
    "images list": (
        "pinpoint images list --in-source trips --state failed",
        "pinpoint images list --area district.gpkg --geojson --all",
    ),
    "index info": ("pinpoint index info",),
    "index rebuild": ("pinpoint index rebuild", "pinpoint index rebuild --no-wait"),
    "index reconcile": ("pinpoint index reconcile --dry-run", "pinpoint index reconcile"),
    "bundles list": ("pinpoint bundles list",),
    "bundles show": ("pinpoint bundles show world-tiny",),
    "bundles verify": ("pinpoint bundles verify world-tiny",),
    "bundles import": (
        "pinpoint bundles import tower.safetensors --tower timm:mobilenetv1_100 "
        "--name mobilenet --license Apache-2.0",
        "pinpoint bundles import dinov2.safetensors --tower timm:vit_small_patch14_dinov2 "
        "--tower-arg img_size=322 --size-px 322 --name dinov2 --license Apache-2.0",
        "pinpoint bundles import /mnt/usb/mobilenet",
    ),
    "bundles pull": (
        "pinpoint bundles pull open_clip:ViT-B-32 --tag laion2b_s34b_b79k --name clip "
        "--license MIT",
    ),
    "bundles activate": (
        "pinpoint bundles activate mobilenet",
        "pinpoint bundles activate mobilenet --images-per-second 20",
    ),
    "bundles delete-vectors": ("pinpoint bundles delete-vectors mobilenet",),
    "train vocabulary": (
        "pinpoint train vocabulary --name streets-vlad",
        "pinpoint train vocabulary --name dinov2-vlad --bundle dinov2 --layer blocks.9 "
        "--in-source streets --activate",
        "pinpoint train vocabulary --name shipped --bundle lite0 --layer blocks.4 --images photos "
        "--license CC0 --local-dimensions 32 --centers 32 --no-pca",
    ),
    "train embedder": (
        "pinpoint train embedder --config run.toml --out runs/ours",
        "pinpoint train embedder --config run.toml --background",
    ),
    "train reranker": ("pinpoint train reranker --config reranker.toml --out runs/reranker",),
    "train status": ("pinpoint train status", f"pinpoint train status {_RUN}"),
    "train resume": (f"pinpoint train resume {_RUN}",),
    "synthetic create": ("pinpoint synthetic create planet --preset tiny --seed 7",),
}
"""Keys are commands without `pinpoint`; the empty name is the program itself."""
_PER_GROUP: Final = 3


def add_examples(app: typer.Typer) -> None:
    """Append the examples to the help of every command and group."""
    app.info.epilog = format_examples(EXAMPLES[""])
    _add_below(app, "")


def format_examples(lines: tuple[str, ...]) -> str:
    """Format an epilog whose line breaks are kept."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _add_below(app: typer.Typer, path: str) -> None:
    for command in app.registered_commands:
        named = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        lines = EXAMPLES.get(f"{path}{named}")
        if lines and not command.epilog:
            command.epilog = format_examples(lines)
    for group in app.registered_groups:
        below = group.typer_instance
        if below is None:
            continue
        if not isinstance(group.name, str):
            _add_below(below, path)  # its commands belong to this level
            continue
        prefix = f"{path}{group.name} "
        lines = tuple(EXAMPLES[name][0] for name in EXAMPLES if name.startswith(prefix))[
            :_PER_GROUP
        ]
        if lines:
            group.epilog = format_examples(lines)
        _add_below(below, prefix)
