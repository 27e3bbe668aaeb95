"""Coverage-guided fuzzing of everything that reads hostile bytes.

`PINPOINT_TEST_FUZZ_S` says how long (default 60 s a target). A finding fails with its input in
hexadecimal; make it by a line of program in `fuzz.seeds.FINDINGS`, and it is replayed in every run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

TESTS = Path(__file__).resolve().parents[1]
SECONDS = int(os.environ.get("PINPOINT_TEST_FUZZ_S", "60"))
SEED = os.environ.get("PINPOINT_TEST_FUZZ_SEED", "1")


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_fuzz_target_has_no_findings(target, tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed; see the dev dependencies")
    command = [sys.executable, "-m", "fuzz", target, "--seconds", str(SECONDS), "--seed", SEED]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS + 100,
        check=False,
    )
    last = [line for line in done.stdout.splitlines() if line.startswith(("fuzzed", "found"))]
    print("\n".join(last))  # noqa: T201
    assert done.returncode == 0, "\n".join([*last, done.stderr[-3_000:]])
    assert last, done.stderr[-3_000:]
    assert last[0].startswith("fuzzed")
