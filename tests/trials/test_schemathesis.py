"""Generated requests to every route of a real stack get documented answers, and no 5xx.

`PINPOINT_TEST_SCHEMATHESIS_CASES` is the number of cases to reach, with and without keys together.
`PINPOINT_TEST_SCHEMATHESIS_LOG` names a file for all failed checks, excepted ones included: one
JSON object on each line.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import SCOPES, KeyGrant
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import run_fault_stack
from trials.soak.script import seeded_photo

LOG = os.environ.get("PINPOINT_TEST_SCHEMATHESIS_LOG")
CASES = int(os.environ.get("PINPOINT_TEST_SCHEMATHESIS_CASES", "10000"))
EXCEPTIONS = Path(__file__).parent / "schemathesis_exceptions.toml"
IMAGES = 12
PASS_S = 300
MAX_PASSES = 20
KEYLESS_SHARE = 0.2
KEYLESS_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
"""Without a key every protected route answers 401, whatever the data."""


@dataclass(frozen=True)
class Api:
    url: str
    key: str


@dataclass(frozen=True)
class Failure:
    """A failed check of one operation."""

    operation: str
    check: str
    message: str


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64) as stack:
        owner = Transactions(owner_engine(stack.paths.owner_url()))
        access = ApiKeyStore(owner)
        access.create_organization("fuzzed")
        key = access.create_key("fuzzed", "all", KeyGrant(scopes=tuple(SCOPES)))[1]
        owner.close()
        state = read_state(stack.paths)
        assert state is not None
        with ApiClient(HttpTransport(state.api_url, key, None, embedded=True)) as client:
            client.add_source("paris-walk", "photo")
            batch = client.open_batch("paris-walk")["id"]
            client.upload(batch, {f"{n}.jpg": seeded_photo(n, n) for n in range(IMAGES)})
            client.close_batch(batch)
            until = time.monotonic() + 120
            while not client.batch(batch)["is_processed"]:
                assert time.monotonic() < until
                time.sleep(0.2)
        yield Api(state.api_url, key)


def run_pass(api: Api, folder: Path, seed: int, *, with_key: bool) -> tuple[int, list[Failure]]:
    """Run schemathesis once; returns the number of cases and the failures."""
    report = folder / f"report-{seed}.ndjson"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
        *("--checks", "all" if with_key else ",".join(KEYLESS_CHECKS)),
        *("--seed", str(seed), "--max-examples", "40", "--max-time", str(PASS_S)),
        *("--phases", "examples,coverage,fuzzing,stateful" if with_key else "coverage,fuzzing"),
        *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"),
        *("--request-timeout", "30", "--report", "ndjson", "--report-ndjson-path", str(report)),
        *("--output-sanitize", "false", "--workers", "1"),
        *(("--header", f"Authorization: Bearer {api.key}") if with_key else ()),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    completed = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PASS_S + 600,
        check=False,
    )
    assert completed.returncode in (0, 1), (completed.stdout + completed.stderr)[-4000:]
    return read_report(report)


def read_report(report: Path) -> tuple[int, list[Failure]]:
    """Read the number of cases and the failures of a report."""
    num_cases, failures = 0, []
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            ((name, event),) = json.loads(line).items()
            if name == "NonFatalError":
                failures.append(Failure(str(event.get("label")), "error", str(event)[:2_000]))
            if name != "ScenarioFinished":
                continue
            recorder = event["recorder"]
            num_cases += len(recorder.get("interactions", ()))
            failures += _list_failures(recorder)
    return num_cases, failures


def _list_failures(recorder: dict[str, Any]) -> list[Failure]:
    failures = []
    for case_id, checks in recorder.get("checks", {}).items():
        for check in checks:
            if check["status"] == "success":
                continue
            failure = check["failure_info"]["failure"]
            interaction = recorder["interactions"].get(case_id, {})
            answer = _read_answer(interaction.get("response") or {})
            failures.append(
                Failure(failure["operation"], check["name"], f"{failure['message']}\n{answer}")
            )
    return failures


def _read_answer(response: dict[str, Any]) -> str:
    content = response.get("content") or ""
    if isinstance(content, dict):
        content = base64.b64decode(content["$base64"]).decode(errors="replace")
    return f"{response.get('status_code')} {content[:1_000]}"


def is_excepted(failure: Failure, exceptions: list[dict[str, Any]]) -> bool:
    return find_exception(failure, exceptions) is not None


def find_exception(failure: Failure, exceptions: list[dict[str, Any]]) -> int | None:
    """Number of the first exception that a failure matches, from 1."""
    for number, entry in enumerate(exceptions, start=1):
        if (
            failure.check in entry["checks"]
            and re.search(entry["operation"], failure.operation)
            and re.search(entry["message"], failure.message, re.DOTALL)
        ):
            return number
    return None


def log_failures(failures: list[Failure], exceptions: list[dict[str, Any]]) -> None:
    if LOG is None:
        return
    with Path(LOG).open("a", encoding="utf-8") as file:
        for failure in failures:
            entry = {"exception": find_exception(failure, exceptions), **asdict(failure)}
            file.write(json.dumps(entry) + "\n")


@pytest.mark.timeout(7_200)
def test_generated_requests_get_documented_answers(api, tmp_path, capsys):
    """Passes with other seeds, until the number of cases is reached."""
    exceptions = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))["exception"]
    assert all(entry["reason"] for entry in exceptions)
    num_cases: dict[bool, int] = {True: 0, False: 0}
    min_keyless = min(CASES * KEYLESS_SHARE / 2, 1_000)
    unexpected: set[Failure] = set()
    for seed in range(1, MAX_PASSES + 1):
        with_key = num_cases[False] >= KEYLESS_SHARE * num_cases[True] or seed == 1
        cases, failures = run_pass(api, tmp_path, seed, with_key=with_key)
        num_cases[with_key] += cases
        unexpected |= {one for one in failures if not is_excepted(one, exceptions)}
        log_failures(failures, exceptions)
        with capsys.disabled():
            with_or_without = "with" if with_key else "without"
            sys.stderr.write(f"pass {seed}: {cases} cases {with_or_without} key\n")
        if sum(num_cases.values()) >= CASES and min(num_cases.values()) >= min_keyless:
            break
    assert sorted(f"{one.operation}: {one.check}: {one.message}" for one in unexpected) == []
    assert sum(num_cases.values()) >= CASES
    assert min(num_cases.values()) >= min_keyless
