"""Fixtures: one gallery on real services, and a labeled set of queries."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evaluation import planted
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
class Chain:
    """Real components with a gallery, and labeled queries on disk."""

    harness: ServiceHarness
    organization_id: uuid.UUID
    folder: Path
    ids: dict[str, uuid.UUID]
    """Image ids by file name."""
    parts: EvaluationComponents = field(init=False)

    def __post_init__(self) -> None:
        self.parts = EvaluationComponents(
            decoder=self.harness.parts.decoder,
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

    def plan(self, **changes) -> RunConfig:
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
            config=self.plan(**changes),
            components=self.parts,
            concurrency=concurrency,
            on_progress=on_progress,
        )

    def report(self, out: Path, convention=None, **changes):
        """A run and its report."""
        run = self.run(out, **changes)
        write_results(out, run, vector_width(self.parts))
        look = make_photo_loader(self.images, self.parts.decoder, self.parts.max_bytes)
        return make_report(out, look, convention)


@pytest.fixture(scope="session")
def chain(postgres, server_paths, tmp_path_factory):
    name = f"e_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    folder = tmp_path_factory.mktemp("chain")
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), folder / "harness"
    )
    try:
        org = harness.organization()
        ids = planted.gallery(harness, org, folder / "gallery")
        planted.questions(folder / "questions", folder / "gallery")
        yield Chain(harness, org, folder / "questions", ids)
    finally:
        harness.close()
        postgres.drop(name)


@pytest.fixture(scope="session")
def finished(chain, tmp_path_factory):
    """A finished run with its report: `(folder, report)`."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, chain.report(out)
