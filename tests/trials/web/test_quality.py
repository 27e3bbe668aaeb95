"""The view of quality reports: figures, reliability, error map."""

from __future__ import annotations

import numpy as np
import pytest

from pinpoint.records.quality_reports import (
    NewQualityReport,
    QueryError,
    ReliabilityBin,
    ReportMetric,
)
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.quality_reports import QualityReportStore

NAME = "<b>bold</b> im2gps3k, vote"


@pytest.fixture
def report_id(stack):
    """A report of 300 queries over Europe."""
    rng = np.random.default_rng(25)
    report = NewQualityReport(
        kind="evaluation",
        bundle="efficientnet-lite0-vlad",
        title=NAME,
        is_synthetic=True,
        queries=300,
        metrics=(
            ReportMetric(name="within 1 km", value=0.412, low=0.361, high=0.467),
            ReportMetric(name="within 25 km", value=0.583, low=0.530, high=0.634),
            ReportMetric(name="median error", value=8.2, low=4.9, high=15.3, unit="km"),
        ),
        reliability=tuple(
            ReliabilityBin(stated=share, observed=min(1.0, share + 0.04), queries=60)
            for share in (0.1, 0.3, 0.5, 0.7, 0.9)
        ),
        notes=("rendered photos of a synthetic planet",),
        errors=tuple(
            QueryError(lat=float(lat), lon=float(lon), error_km=float(error))
            for lat, lon, error in zip(
                rng.uniform(40, 55, 300),
                rng.uniform(-5, 20, 300),
                10 ** rng.uniform(-2, 3.5, 300),
                strict=True,
            )
        ),
    )
    owner = Transactions(owner_engine(StackPaths(stack.home).owner_url()))
    try:
        organization_id = ApiKeyStore(owner).caller_for("default").organization_id
        yield str(QualityReportStore(owner).add(organization_id, report))
    finally:
        owner.close()


def test_report_has_figures_reliability_and_an_error_map(
    open_page, stack, report_id, take_screenshot, check_accessibility
):
    page = open_page(stack.key)
    page.get_by_role("link", name="Quality").click()
    page.locator(".quality table").first.wait_for()
    assert "58.3 %" in page.locator(".quality").inner_text()
    page.locator(".report-link").first.click()
    page.locator("svg.reliability circle").nth(4).wait_for()
    text = page.locator(".quality").inner_text()
    assert NAME in text
    assert page.locator(".quality b").count() == 0
    assert "53.0 % – 63.4 %" in text
    assert "no evidence about the Earth" in text
    assert report_id in page.url
    check_accessibility(page)
    page.wait_for_timeout(2_000)
    take_screenshot(page, "quality-report")
    page.go_back()
    page.locator(".report-link").first.wait_for()
