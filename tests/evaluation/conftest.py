"""Fixtures: one gallery on real services, and a labeled set of queries."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evaluation import labeled_gallery
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.report.figures import make_photo_loader
from pinpoint.evaluation.report.report_file import make_report
from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig, evaluate, vector_width
from pinpoint.evaluation.run.results import write_results
from pinpoint.settings import SearchSettings
from stack_fixtures import ServiceHarness

TEMPLATE = "template_pinpoint"
SEARCH = SearchSettings(candidates=12, evidence_per_kind=2)


@dataclass
class EvaluationHarness:
    """Real components with a gallery, and labeled queries on disk."""

    harness: ServiceHarness
    organization_id: uuid.UUID
    folder: Path
    ids: dict[str, uuid.UUID]
    """Image ids by file name."""
    components: EvaluationComponents = field(init=False)

    def __post_init__(self) -> None:
        self.components = EvaluationComponents(
            decoder=self.harness.components.decoder,
            encoder=self.harness.encoder,
            index=self.harness.index,
            database=self.harness.database,
            search=SEARCH,
            max_bytes=10_000_000,
        )

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def labeled(self):
        return read_labels(PROTOCOLS["custom"], self.folder / "labels.csv")

    def run_config(self, **changes) -> RunConfig:
        return replace(
            RunConfig(organization_id=self.organization_id, images=self.images), **changes
        )

    def run(
        self,
        out: Path,
        *,
        labeled=None,
        concurrency=1,
        on_progress=lambda completed, total: None,
        **changes,
    ):
        return evaluate(
            labeled or self.labeled(),
            out,
            config=self.run_config(**changes),
            components=self.components,
            concurrency=concurrency,
            on_progress=on_progress,
        )

    def run_with_results(self, out: Path, **changes) -> None:
        """A run without a report, whose figures take ten times as long as its queries."""
        write_results(out, self.run(out, **changes), vector_width(self.components))

    def report(self, out: Path, convention=None, **changes):
        """A run and its report."""
        self.run_with_results(out, **changes)
        look = make_photo_loader(self.images, self.components.decoder, self.components.max_bytes)
        return make_report(out, look, convention)


@pytest.fixture(scope="session")
def evaluation_harness(postgres, server_paths, tmp_path_factory):
    name = f"e_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    folder = tmp_path_factory.mktemp("evaluation")
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), folder / "harness"
    )
    try:
        org = harness.organization()
        ids = labeled_gallery.ingest_gallery(harness, org, folder / "gallery")
        labeled_gallery.write_queries(folder / "queries", folder / "gallery")
        yield EvaluationHarness(harness, org, folder / "queries", ids)
    finally:
        harness.close()
        postgres.drop(name)


@pytest.fixture(scope="session")
def finished(evaluation_harness, tmp_path_factory):
    """A finished run with its report: `(folder, report)`."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, evaluation_harness.report(out)
