"""`locate` from the vector on where a reranker judges and a calibration believes; the API's memory.

The reranker is the shipped bundle's own, or the recipe's network with seeded weights: training
does not change what it costs. So with the calibration, whose numbers promise nothing here; regions,
radii and names are computed all the same. Pictures are seeded and places are real: what the channel
`gps` finds for them is of no interest, so none of it is found twice, which is the dearest case.
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


def measure(size: int, questions: int, say: Say) -> dict[str, object]:
    """Ask both sides over a gallery of so many images, and the API, whose memory is read then."""
    with locate.prepared(size, questions, say, reranked) as ready:
        said = locate.ask(ready, ready.vectors[0][0], locate.OWNERS[0])
        if (said.ranker, said.calibrated) != (RERANK, True):
            raise RuntimeError(
                f"ranker {said.ranker}: {said.ranker_fallback_reason}, "
                f"{said.calibrated_result.note}"
            )
        figures = locate.measure(ready, questions)
        with ready.stack.client("org-0") as client:
            for photo in ready.photos[:_OVER_HTTP]:
                if client.locate(photo)["ranker"] != RERANK:
                    raise RuntimeError("the API has no reranker")
        resident = psutil.Process(ready.stack.pid("api")).memory_info().rss
        return {**figures, "threads": torch.get_num_threads(), "api_mb": round(resident / 1e6)}


def reranked(bundles: Path) -> tuple[EncoderSettings, str]:
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
    made = read_bundle(folder)
    if RERANK not in made.calibrations:
        write_calibration(folder, _calibration(made))
    return EncoderSettings(bundle=NAME), NAME


def _calibration(of: Bundle) -> Calibration:
    """Logits as they are, kernels in equal shares, a fifth of the mass elsewhere."""
    part = of.contract.reranker
    if part is None:
        raise ValueError(f"{of.contract.name} has no reranker")
    as_said = {share: float(share) for share in REGION_PROBABILITY_KEYS}
    fit = StratumFit(
        temperature=1.0,
        candidate_density_exponent=0.0,
        kernel_weights=(1 / len(KERNELS_KM),) * len(KERNELS_KM),
        outside_candidates_coefficients=(-1.4, *(0.0,) * (len(FEATURE_NAMES) - 1)),
        background_kernel_weights=(1 / len(BACKGROUND_KERNELS_KM),) * len(BACKGROUND_KERNELS_KM),
        credible_region_levels=as_said,
        credible_disc_levels=as_said,
        probability_within_km={f"{km:g}": (0.0, 1.0) for km in THRESHOLDS_KM},
        num_queries=0,
        num_creators=0,
    )
    return Calibration(
        ranker=RERANK,
        contract_digest=digest(of.contract, MediaSettings().rendition_px),
        reranker_digest=part.weights.sha256,
        bundle=of.contract.name,
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
