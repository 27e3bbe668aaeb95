"""A small training run of a reranker on a planet's gallery of the role `rerank`."""

from __future__ import annotations

from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
from pinpoint.training.reranker.config import read_reranker_config
from pinpoint.training.reranker.examples import ExampleGallery
from pinpoint.training.reranker.train_reranker import train_reranker

TEXT = """
name = "{name}"
license = "CC0-1.0"

[[queries]]
labels = "{planet}/queries/labels.csv"
images = "{planet}/queries/images"
protocol = "synthetic"
filter = {{ role = "rerank" }}
[[queries]]
labels = "{planet}/queries/labels.csv"
images = "{planet}/queries/images"
protocol = "synthetic"
filter = {{ role = "null-train" }}
[[queries]]
labels = "{planet}/galleries/rerank-photo/manifest.csv"
images = "{planet}/galleries/rerank-photo"
kind = "photo"
[gallery]
candidates = 24
evidence_per_kind = 3
[split]
val_fraction = 0.3
[network]
width = 32
heads = 2
candidate_blocks = 1
[schedule]
steps = {steps}
batch_size = 8
warmup_steps = 2
checkpoint_steps = 4
"""


def write_config(planet, folder, name="ranked", steps=10):
    path = folder / f"{name}.toml"
    path.write_text(TEXT.format(planet=planet.folder, name=name, steps=steps))
    return read_reranker_config(path)


def example_gallery(world, config):
    harness, org = world
    return ExampleGallery(
        config=RunConfig(organization_id=org, images=harness.folder),
        components=EvaluationComponents(
            decoder=harness.components.decoder,
            encoder=harness.encoder,
            index=harness.index,
            database=harness.database,
            search=config.gallery.search_settings(harness.settings.search),
            max_bytes=10_000_000,
        ),
        evidence_radius_m=config.gallery.evidence_radius_m,
        evidence_per_kind=config.gallery.evidence_per_kind,
        balanced=True,
    )


def run_training(world, config, folder, into):
    harness, _ = world
    progress = []
    result = train_reranker(
        config,
        folder,
        gallery=example_gallery(world, config),
        bundle=harness.encoder.bundle,
        into=into,
        on_progress=lambda what, done, total: progress.append((what, done, total)),
    )
    return result, progress
