"""`make soak N=1000 SEED=…`: faults, a table, and a non-zero end at the first difference."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from trials.soak.campaign import Campaign
from trials.soak.fault_stack import run_fault_stack

FAULTS_PER_RUN = 20
RUNS_PER_WORLD = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="pinpoint bench faults", description=__doc__)
    parser.add_argument("-n", type=int, default=1_000, help="faults in all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--evidence", type=Path, default=None)
    given = parser.parse_args()
    kept = given.evidence or Path(tempfile.gettempdir()) / f"pinpoint-soak-{given.seed}"
    sys.stdout.write(f"seed {given.seed}\n")
    with run_fault_stack() as stack, tempfile.TemporaryDirectory(prefix="pinpoint-test-") as folder:
        campaign = Campaign(stack, Path(folder))
        sys.stdout.write(f"clock faked: {stack.faked_clock}, disks: {stack.small_disks}\n")
        left = given.n
        try:
            while left > 0:
                number = len(campaign.runs)
                world = given.seed + number // RUNS_PER_WORLD
                run = campaign.run(world, given.seed + number, min(FAULTS_PER_RUN, left))
                left -= len(run.kinds)
                said = f"run {number}: equal {run.equal}, drift {run.drift}, {run.seconds:.0f} s"
                sys.stdout.write(f"{said}, left {left}\n")
                sys.stdout.flush()
                if not run.equal or run.drift or run.unstated:
                    raise AssertionError("\n".join([*run.differences[:40], *run.unstated[:20]]))
        except BaseException:
            _keep(kept, stack.paths.home, campaign)
            sys.stdout.write(campaign.table() + "\n")
            raise
        sys.stdout.write(campaign.table() + "\n")
    return 0


def _keep(evidence: Path, home: Path, campaign: Campaign) -> None:
    """Logs and what was done, for whoever looks for the cause."""
    shutil.rmtree(evidence, ignore_errors=True)
    shutil.copytree(home / "logs", evidence / "logs")
    runs = [asdict(run) for run in campaign.runs]
    (evidence / "runs.json").write_text(json.dumps(runs, indent=1))
    sys.stdout.write(f"evidence kept in {evidence.absolute()}\n")


if __name__ == "__main__":
    raise SystemExit(main())
