"""A trained reranker: evaluation, calibration fit, calibrated answer and its JSON."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.evaluation.calibration import fit
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run.evaluate import evaluate
from pinpoint.nets.bundle.bundles import copy_bundle
from pinpoint.nets.bundle.calibrations import write_calibration
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.settings import EncoderSettings, SearchSettings, Settings
from training.reranker_runs import example_gallery


@pytest.fixture(scope="module")
def calibrated(world, planet, reranked, tmp_path_factory):
    """An encoder whose bundle has a calibrated reranker, and the components of the run."""
    config, _, made, _ = reranked
    folder = tmp_path_factory.mktemp("calibrated")
    copied = copy_bundle(made.bundle, folder / "bundle").weights.parent
    settings = Settings(
        encoder=EncoderSettings(bundle=str(copied), device="cpu"),
        search=SearchSettings(candidates=config.gallery.candidates),
    )
    encoder = EncoderHandle(settings)
    run_gallery = example_gallery(world, config)
    components = replace(
        run_gallery.components, encoder=encoder, reranker=encoder.reranker, search=settings.search
    )
    with planet.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Only the gallery of the role `rerank` is indexed. Each of its photos counts as the work of
    # another creator, because it has eight creators and a fit needs ten.
    indexed = [row for row in rows if row["role"] == "rerank"]
    queries = [{**row, "role": "calibration", "creator": ""} for row in indexed]
    queries += [row for row in rows if row["role"] == "null-train"]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(queries)
    images = planet.folder / "queries/images"
    plan = replace(run_gallery.config, ranker="rerank", images=images, exclude=())
    labeled = read_labels(PROTOCOLS["synthetic"], folder / "labels.csv")
    evaluate(labeled, folder / "run", config=plan, components=components)
    write_calibration(copied, fit.fit_calibration(folder / "run"))
    return EncoderHandle(settings), components


def locate(calibrated, planet, world, kind="photo", **changes):
    """The answer for an unseen photo, with changed fields of the calibration."""
    encoder, components = calibrated
    unseen = next(photo for photo in planet.queries if (photo.role, photo.kind) == ("rerank", kind))
    found = encoder.contract.calibrations["rerank"]
    assert found.reranker_digest == encoder.reranker.digest
    contract = replace(encoder.contract, calibrations={"rerank": replace(found, **changes)})
    context = SearchContext(
        organization_id=world[1],
        decoder=components.decoder,
        encoder=SimpleNamespace(
            contract=contract, encode_query_channels=encoder.encode_query_channels
        ),
        index=components.index,
        database=components.database,
        settings=components.search,
        reranker=encoder.reranker,
    )
    photo = QueryPhoto(data=unseen.path.read_bytes(), file="q.jpg", kind=kind)
    return pipeline.locate(photo, SearchFilter(), context)


def test_locate_with_calibrated_reranker_returns_probabilities(calibrated, planet, world):
    answer = locate(calibrated, planet, world)
    assert (answer.ranker, answer.ranker_fallback_reason, answer.calibrated) == (
        "rerank",
        None,
        True,
    )
    belief = answer.calibrated_result.posterior
    assert belief.point == answer.point
    refined = [each.refined_position for each in answer.ranked]
    assert min(np.hypot(p.lat - answer.point.lat, p.lon - answer.point.lon) for p in refined) < 1e-9
    chances = list(belief.probability_within_km.values())
    assert chances == sorted(chances)
    assert 0 < chances[0] <= chances[-1] <= 1
    document = AnswerOut.of(answer, 24)
    assert "Fitted on" in document.calibration_note
    assert document.no_match_logit == answer.calibrated_result.features.no_match_logit
    alike = [
        each.weight * np.mean([each.candidate.score, *each.similarities]) for each in answer.ranked
    ]
    assert answer.calibrated_result.features.neighborhood_similarity == pytest.approx(
        sum(alike), abs=1e-6
    )
    assert any(each.similarities for each in answer.ranked)
    assert [disc.radius_m for disc in document.credible_discs] == [
        disc.radius_m for disc in belief.credible_discs
    ]
    assert all(candidate.rerank_logit is not None for candidate in document.candidates)


def test_locate_with_dominant_no_match_logit_abstains(calibrated, planet, world):
    """With log-odds from the no-match logit only: `null - log Σ exp(scores)`."""
    found = calibrated[0].contract.calibrations["rerank"]
    assert found.abstention.signal == "outside_candidates", (
        "four photos without a gallery are too few"
    )
    only_null = {
        name: replace(fit, outside_candidates_coefficients=(0.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        for name, fit in found.strata.items()
    }
    answer = locate(calibrated, planet, world, strata=only_null)
    scores = np.array([each.rerank_logit for each in answer.ranked])
    null = np.exp(answer.calibrated_result.features.no_match_logit)
    wanted = null / (null + np.exp(scores).sum())
    assert answer.calibrated_result.posterior.p_outside_candidates == pytest.approx(wanted)
    for above, abstained in ((0.99 * wanted, "outside_candidates"), (1.01 * wanted, None)):
        abstention = replace(found.abstention, threshold=float(above))
        decided = locate(calibrated, planet, world, strata=only_null, abstention=abstention)
        assert decided.calibrated_result.abstention_reason == abstained
        assert decided.point == answer.point, "the best guess is still returned"
