"""A training step against the bare passes of its networks, and an epoch from cached features.

The recipe of the shipped bundle on a small planet. Bare is the unavoidable work: the forward and
backward pass of tower, heads and location tower over prepared tensors, with a simple loss, and
without sampling, reading, distances, optimizer and weight averaging.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from bench.stack import Say
from nets.towers import timm_bundle
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.settings import EncoderSettings, Settings
from pinpoint.synthetic.dataset import make_planet
from pinpoint.training.core import loop
from pinpoint.training.core.configs import EmbedderConfig, ManifestSourceConfig, read_config
from pinpoint.training.core.samples import ManifestSource, Samples, read_samples
from pinpoint.training.core.sampling import BatchSampler
from pinpoint.training.embedder.feature_source import FeatureSource, open_feature_source
from pinpoint.training.embedder.features import FeatureEncoder, Features, cache_features
from pinpoint.training.embedder.objective import FeatureTable, Networks

RECIPE = Path(__file__).parents[2] / "docs" / "configs" / "world-tiny.toml"
TARGET = 0.85
_STEPS, _BATCH = 24, 160


def measure(folder: Path, repetitions: int, say: Say) -> dict[str, object]:
    """Medians of both, alternating in one process.

    Returns:
        Images per second: `step_per_s` and `bare_per_s` with their `ratio`; `cached_per_s` and
        `decoded_per_s`, an epoch of heads from cached features and one that decodes and encodes.
    """
    say("training: drawing a small planet")
    planet = make_planet(folder / "planet", preset="demo", seed=7)
    manifests = planet.manifests()
    sources = tuple(
        ManifestSourceConfig(manifest=manifests[f"test-{kind}"], kind=kind)
        for kind in ("photo", "street")
    )
    recipe = read_config(RECIPE)
    # A batch has at most one image of each drive, and this planet has 96 drives.
    schedule = recipe.schedule.model_copy(update={"batch_size": _BATCH})
    config = recipe.model_copy(update={"sources": sources, "schedule": schedule})
    settings = Settings(encoder=EncoderSettings(device="cpu"))
    samples = read_samples(
        [ManifestSource(manifest=source.manifest, kind=source.kind) for source in sources],
        settings.media,
        geocell_resolution=config.geocell_resolution,
    ).samples
    decoder = ChildDecoder(settings.media, children=2)
    try:
        steps = _measure_steps(config, samples, settings, decoder, folder, repetitions, say)
        epochs = _measure_epochs(config, samples, settings, decoder, folder, repetitions, say)
    finally:
        decoder.close()
    return {**steps, **epochs, "pictures": len(samples), "batch": config.schedule.batch_size}


def _measure_steps(
    recipe: EmbedderConfig,
    samples: Samples,
    settings: Settings,
    decoder: ChildDecoder,
    folder: Path,
    repetitions: int,
    say: Say,
) -> dict[str, object]:
    front = open_feature_source(recipe, settings)
    features = _cache_features(front, samples, decoder, folder / "pixels")
    rows = np.arange(len(samples))
    table = FeatureTable.of(samples, features, rows, recipe)
    sampler = BatchSampler(samples, rows, batch_size=recipe.schedule.batch_size, seed=0)
    few = {"steps": _STEPS, "checkpoint_steps": _STEPS + 1}
    config = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=few)})
    took: dict[str, list[float]] = {"step": [], "bare": []}
    for number in range(repetitions + 1):
        say(f"training: steps, repetition {number} of {repetitions}, the first is a rehearsal")
        state = loop.init_state(
            config,
            sampler.kinds,
            front.feature_dim,
            geocells=len(table.cells.counts),
            make_tower=front.make_tower,
        )
        out = folder / f"run-{number}"
        out.mkdir()
        where = {"context": loop.LoopContext(folder=out, identity="bench")}
        step_s = _time_s(
            partial(loop.train, state, table=table, sampler=sampler, config=config, **where)
        )
        bare_s = _time_s(_make_passes(state.nets, table, sampler, config))
        if number:
            took["step"].append(step_s)
            took["bare"].append(bare_s)
    shown = recipe.schedule.batch_size * _STEPS
    step_s, bare_s = median(took["step"]), median(took["bare"])
    return {
        "step_per_s": shown / step_s,
        "bare_per_s": shown / bare_s,
        "ratio": bare_s / step_s,
        "threads": torch.get_num_threads(),
    }


def _make_passes(
    nets: Networks, table: FeatureTable, sampler: BatchSampler, config: EmbedderConfig
) -> Callable[[], None]:
    """The same batches with their partners, and as many positions, as prepared tensors."""
    ready = []
    for step in range(_STEPS):
        rows = sampler.batch(step)
        partners = table.near_pairs.draw(step, rows)
        shown = np.concatenate([rows, np.setdiff1d(partners[partners >= 0], rows)])
        places = np.resize(rows, len(rows) + config.losses.num_sampled_negatives)
        ready.append(
            (
                torch.from_numpy(table.features[shown].astype(np.float32)),
                [table.kinds[row] for row in shown.tolist()],
                torch.from_numpy(table.positions[places]),
            )
        )

    def run_passes() -> None:
        for features, kinds, positions in ready:
            nets.zero_grad(set_to_none=True)
            cosines = nets.vectors(features, kinds) @ nets.location(positions).T
            torch.autograd.backward(cosines.square().mean())

    return run_passes


def _measure_epochs(
    recipe: EmbedderConfig,
    samples: Samples,
    settings: Settings,
    decoder: ChildDecoder,
    folder: Path,
    repetitions: int,
    say: Say,
) -> dict[str, object]:
    """Train heads on the same, frozen tower over all images, from the cache and from files."""
    bundle = timm_bundle(folder / "tower")
    losses = recipe.losses.model_copy(update={"geocell": 0.0, "image_image": 0.0})
    frozen = {"tower": str(bundle), "train_tower": None, "losses": losses}
    config = recipe.model_copy(update=frozen)
    front = open_feature_source(config, settings)
    nets = loop.init_state(config, ("photo", "street"), front.feature_dim).nets
    took: dict[str, list[float]] = {"cached": [], "decoded": []}
    for number in range(repetitions):
        say(f"training: epochs, repetition {number + 1} of {repetitions}")
        cache = folder / f"features-{number}"
        began = perf_counter()
        features = _cache_features(front, samples, decoder, cache)
        encoded_s = perf_counter() - began
        cached_s = _time_s(partial(_run_epoch, nets, features, samples))
        took["cached"].append(cached_s)
        took["decoded"].append(encoded_s + cached_s)
    count = len(samples)
    return {f"{name}_per_s": count / median(seconds) for name, seconds in took.items()}


def _run_epoch(nets: Networks, features: Features, samples: Samples) -> None:
    for start in range(0, len(samples), 256):
        part = slice(start, start + 256)
        nets.zero_grad(set_to_none=True)
        features_of_batch = torch.from_numpy(features.values[part].astype(np.float32))
        image_vectors = nets.vectors(features_of_batch, samples.kinds[part].tolist())
        location_vectors = nets.location(torch.from_numpy(samples.positions[part]))
        torch.autograd.backward((image_vectors @ location_vectors.T).square().mean())


def _cache_features(
    front: FeatureSource, samples: Samples, decoder: ChildDecoder, folder: Path
) -> Features:
    return cache_features(
        folder,
        samples,
        decoder=decoder,
        encoder=FeatureEncoder(encode=front.encode, digest=front.digest, width=front.width),
        threads=2,
    )


def _time_s(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
