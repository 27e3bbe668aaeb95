"""`locate` of an encoded query with reranker and calibration, and memory of the API.

The reranker is that of the shipped bundle, or the recipe's network with seeded weights: training
does not change the cost. The same holds for the calibration, whose values are arbitrary here; all
credible regions, radii and names are computed. Images are seeded and positions are real, so the
hits of the channels `gps` and `image` do not overlap, which is the most expensive case.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from bench import locate
from bench.rerank import RECIPE
from bench.stack import Say
from pinpoint import __version__
from pinpoint.evaluation.calibration.posterior_fit import BACKGROUND_KERNELS_KM, KERNELS_KM
from pinpoint.geo.posteriors import ALL_QUERIES, FEATURE_NAMES
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, Bundle, copy_bundle, read_bundle
from pinpoint.nets.bundle.calibrations import write_calibration
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.reranker.bundle_reranker import write_reranked
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.records import AbstentionRule, Calibration, StratumFit
from pinpoint.search.pipeline import RERANK
from pinpoint.search.posterior import REGION_PROBABILITY_KEYS
from pinpoint.settings import EncoderSettings, MediaSettings, SearchSettings
from pinpoint.training.reranker.config import read_reranker_config

TARGET_RATIO = 1.4
TARGET_P50_MS = 120.0
TARGET_API_MB = 1_500
NAME = "world-tiny-judged"
_BUNDLE = "world-tiny"
_OVER_HTTP = 32


def measure(size: int, num_queries: int, say: Say) -> dict[str, object]:
    """Measure both sides over a gallery of this size, and the API's memory after queries."""
    with locate.prepared(size, num_queries, say, reranked_bundle) as ready:
        answer = locate.ask(ready, ready.vectors[0][0], locate.OWNERS[0])
        if (answer.ranker, answer.calibrated) != (RERANK, True):
            raise RuntimeError(
                f"ranker {answer.ranker}: {answer.ranker_fallback_reason}, "
                f"{answer.calibrated_result.note}"
            )
        figures = locate.measure(ready, num_queries)
        with ready.stack.client("org-0") as client:
            for photo in ready.photos[:_OVER_HTTP]:
                if client.locate(photo)["ranker"] != RERANK:
                    raise RuntimeError("the API has no reranker")
        resident = psutil.Process(ready.stack.pid("api")).memory_info().rss
        return {**figures, "threads": torch.get_num_threads(), "api_mb": round(resident / 1e6)}


def reranked_bundle(bundles: Path) -> tuple[EncoderSettings, str]:
    """`bench.stack.Tower`: the shipped bundle with a reranker and a calibration of it."""
    bundles.mkdir(parents=True, exist_ok=True)
    folder, shipped = bundles / NAME, read_bundle(SHIPPED_FOLDER / _BUNDLE)
    if shipped.contract.reranker is None:
        config = read_reranker_config(RECIPE)
        torch.manual_seed(0)
        write_reranked(
            folder,
            name=NAME,
            bundle=shipped,
            network=RerankerNetwork(config.network.spec(shipped.contract.dims["image"])),
            evidence_radius_m=config.gallery.evidence_radius_m,
            evidence_per_kind=config.gallery.evidence_per_kind,
            license=config.license,
        )
    else:
        copy_bundle(SHIPPED_FOLDER / _BUNDLE, folder)
    bundle = read_bundle(folder)
    if RERANK not in bundle.calibrations:
        write_calibration(folder, _make_calibration(bundle))
    return EncoderSettings(bundle=NAME), NAME


def _make_calibration(bundle: Bundle) -> Calibration:
    """Calibration with unscaled logits, equal kernel weights, and a fifth of the mass outside."""
    part = bundle.contract.reranker
    if part is None:
        raise ValueError(f"{bundle.contract.name} has no reranker")
    levels = {share: float(share) for share in REGION_PROBABILITY_KEYS}
    fit = StratumFit(
        temperature=1.0,
        candidate_density_exponent=0.0,
        kernel_weights=(1 / len(KERNELS_KM),) * len(KERNELS_KM),
        outside_candidates_coefficients=(-1.4, *(0.0,) * (len(FEATURE_NAMES) - 1)),
        background_kernel_weights=(1 / len(BACKGROUND_KERNELS_KM),) * len(BACKGROUND_KERNELS_KM),
        credible_region_levels=levels,
        credible_disc_levels=levels,
        probability_within_km={f"{km:g}": (0.0, 1.0) for km in THRESHOLDS_KM},
        num_queries=0,
        num_creators=0,
    )
    return Calibration(
        ranker=RERANK,
        contract_digest=digest(bundle.contract, MediaSettings().rendition_px),
        reranker_digest=part.weights.sha256,
        bundle=bundle.contract.name,
        kernels_km=KERNELS_KM,
        background_kernels_km=BACKGROUND_KERNELS_KM,
        density_thresholds={},
        strata={ALL_QUERIES: fit},
        abstention=AbstentionRule(
            signal="outside_candidates",
            threshold=1.0,
            not_in_gallery_coefficients=None,
            false_abstention_rate=0.0,
            abstention_rate_in_gallery=0.0,
            abstention_rate_not_in_gallery=None,
        ),
        search_settings=SearchSettings().model_dump(
            mode="json", exclude={"max_citations", "optimize_for_radius_km"}
        ),
        source_kinds=(),
        data={},
        num_creators=0,
        license="CC0-1.0",
        note="Fitted on nothing.",
        code_version=__version__,
    )
