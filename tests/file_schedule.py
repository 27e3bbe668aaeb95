"""The order of test files, and which of them one process runs because they share servers.

`make test` runs several processes. A session fixture exists once per process, so files that share
an expensive one go to the same process. Long files start first: otherwise one process still runs
a long file when the others have ended.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

SHARING = {
    "stack": (
        # First, because it checks that no process was restarted.
        "stack/test_stack_lifecycle.py",
        "api/test_api_end_to_end.py",
        "cli/test_cli_demo_photos.py",
        "cli/test_cli_key.py",
        "cli/test_cli_search.py",
        "cli/test_client_retry.py",
        "evaluation/test_evaluation_cli.py",
        "ingest/test_hostile_stack.py",
        "python_client/test_client_stack_workflow.py",
        "stack/test_calibrate_verification.py",
        "stack/test_locate_matches.py",
        "stack/test_stack_demo_home.py",
        "stack/test_stack_monitoring.py",
        "stack/test_stack_training_worker.py",
        "synthetic/test_synthetic_demo.py",
    ),
    "reranker": (
        "training/test_candidate_slots_training.py",
        "training/test_leakage_balance.py",
        "training/test_training_reranker.py",
        "training/test_training_reranker_calibration.py",
        "training/test_training_reranker_objective.py",
    ),
    "protected areas": (
        "tenant_isolation/test_isolation_protected_answers.py",
        "tenant_isolation/test_isolation_protected_areas.py",
    ),
    "evaluation": (
        "evaluation/test_evaluation_compare.py",
        "evaluation/test_evaluation_concurrency.py",
        "evaluation/test_evaluation_report.py",
        "evaluation/test_evaluation_run.py",
    ),
}
"""Files by the expensive fixtures that they share."""
LONG_FILES = (
    "stack",
    "reranker",
    "stack/test_index_rebuild.py",
    "evaluation",
    "protected areas",
    "stack/test_api_hanging.py",
    "tenant_isolation/test_isolation_api.py",
    "stack/test_index_engine.py",
    "stack/test_bundles_activate.py",
    "stack/test_index_owner.py",
    "stack/test_backup.py",
    "training/test_training_embedder.py",
    "training/test_training_towers.py",
    "ingest/test_geometric_verification.py",
    "evaluation/test_evaluation_leave_one_out.py",
    "evaluation/test_evaluation_verified_posterior.py",
    "evaluation/test_evaluation_coverage.py",
    "store/test_vectors_contract.py",
    "ingest/test_hostile_poison.py",
    "media/test_media_sandbox_formats.py",
    "store/test_vectors_recall.py",
    "ingest/test_inspect.py",
)
"""Units that start first, the longest one first: a file, or a name of `SHARING`."""
_UNIT_OF_FILE = {file: unit for unit, files in SHARING.items() for file in files}
_POSITION_IN_UNIT = {
    file: position for files in SHARING.values() for position, file in enumerate(files)
}
_POSITION = {unit: position for position, unit in enumerate(LONG_FILES)}


def find_unit(test_id: str) -> str:
    """The unit of a test: its file, or the name of the files that share fixtures with it."""
    file = _find_file(test_id)
    return _UNIT_OF_FILE.get(file, file)


def sort_tests(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Tests with the long units first; the order is otherwise that of the collection."""

    def find_position(item: pytest.Item) -> tuple[int, int]:
        position = _POSITION.get(find_unit(item.nodeid), len(_POSITION))
        return position, _POSITION_IN_UNIT.get(_find_file(item.nodeid), 0)

    return sorted(items, key=find_position)


def _find_file(test_id: str) -> str:
    return test_id.partition("::")[0].removeprefix("tests/")


class UnitScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Distributes units in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return find_unit(nodeid)
