"""Copy the trained reranker and its calibration into the shipped bundle.

`pinpoint bench ship-reranker --home FOLDER`, after `pinpoint bench reranker` with that folder.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, read_bundle
from pinpoint.nets.bundle.calibrations import write_calibration
from pinpoint.nets.reranker.bundle_reranker import load_reranker, write_reranked
from pinpoint.search.pipeline import RERANK
from trials.rerank.bench_run import BUNDLE, RERANKED, BenchRun


def ship(trained: Path, shipped: Path) -> None:
    """Replace the reranker and the calibration of the shipped bundle; its name stays.

    Args:
        trained: Folder of the calibrated bundle of a run.
        shipped: Folder of the shipped bundle; it is replaced.
    """
    of, plain = read_bundle(trained), read_bundle(shipped)
    network, part = load_reranker(of), of.contract.reranker
    if network is None or part is None:
        raise RuntimeError(f"{trained} has no reranker")
    with TemporaryDirectory(dir=shipped.parent) as folder:
        made = write_reranked(
            Path(folder) / shipped.name,
            name=plain.contract.name,
            bundle=plain,
            network=network,
            evidence_radius_m=part.evidence_radius_m,
            evidence_per_kind=part.evidence_per_kind,
            license=part.weights.license,
            training=part.training,
        )
        calibration = replace(of.calibrations[RERANK], bundle=plain.contract.name)
        write_calibration(made, calibration)
        read_bundle(made)
        shutil.rmtree(shipped)
        made.rename(shipped)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="pinpoint bench ship-reranker", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="of the run")
    given = parser.parse_args()
    bench = BenchRun(home=given.home.absolute(), preset="bench", seed=7, concurrency=1)
    ship(bench.bundle(RERANKED), SHIPPED_FOLDER / BUNDLE)
