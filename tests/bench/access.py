"""What authentication, limits and audit add to a query, against the same query without them.

Both sides search the same gallery from the same vectors, alternating in one run. The key has every
limit, and the misuse rule counts, so that no check is skipped.
"""

from __future__ import annotations

import gc
from time import perf_counter

import numpy as np

from bench.locate import OWNERS, WARM_UP, Prepared, ask
from pinpoint import deadline
from pinpoint.bootstrap import build_services
from pinpoint.limit_settings import LimitSettings
from pinpoint.records import AuditEntry, KeyGrant
from pinpoint.records.key_limits import KeyLimits
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.limits.counters import open_counters
from pinpoint.store.limits.limiter import KeyLimiter
from pinpoint.store.limits.misuse import MisuseRule

SIZE = 2_000
TARGET_MS = 3.0
PARTS = ("authentication", "limits", "misuse rule", "audit")
_UNREACHED = 10**9
_PHOTO_BYTES = 2_000_000


def measure(ready: Prepared, num_queries: int) -> dict[str, object]:
    """Measure both sides with the same queries, alternating which side is first."""
    services, owner = ready.services, OWNERS[0]
    operator = build_services(ready.stack.settings, "operator")
    key, secret = operator.api_keys.create_key("org-0", "bench", KeyGrant(scopes=("locate",)))
    settings = LimitSettings(
        misuse_action="report",
        misuse_photos_per_creator=_UNREACHED,
        misuse_photos_per_cell=_UNREACHED,
    )
    store = KeyLimitStore(services.database._transactions)
    counters = open_counters(ready.stack.settings, ready.stack.paths.broker_url)
    limiter = KeyLimiter(counters, store, settings)
    rule = MisuseRule(counters, store, settings)
    limiter.set_overrides(
        key.id,
        KeyLimits(
            requests_per_minute=_UNREACHED,
            photos_per_day=_UNREACHED,
            bytes_per_day=10**15,
            concurrent_jobs=16,
        ),
    )
    operator.close()

    def query_with_access(vector: np.ndarray) -> list[float]:
        marks = [perf_counter()]
        caller = services.api_keys.authenticate(secret)
        assert caller.key_id is not None
        marks.append(perf_counter())
        # As `api.rate_limits`: the request, its body, and its photos.
        limiter.take(caller.key_id, "requests")
        limiter.require_remaining(caller.key_id, "photos")
        limiter.take(caller.key_id, "bytes", _PHOTO_BYTES)
        limiter.take(caller.key_id, "photos")
        marks.append(perf_counter())
        answer = ask(ready, vector, owner)
        marks.append(perf_counter())
        rule.count_photos(caller.key_id, {"Ada Lovelace": 1}, answer.point, 1)
        marks.append(perf_counter())
        with services.database.write(owner) as catalog:
            catalog.log_access(
                AuditEntry(
                    operation="locate",
                    key_id=caller.key_id,
                    photo_sha256="0" * 64,
                    bundle=answer.bundle,
                    index_build=answer.index_build,
                )
            )
        marks.append(perf_counter())
        steps = np.diff(marks) * 1e3
        return [float(steps[0]), float(steps[1]), float(steps[3]), float(steps[4])]

    totals: dict[str, list[float]] = {"bare": [], "access": []}
    parts = []
    gc.collect()
    for number, vector in enumerate(ready.vectors[0][: WARM_UP + num_queries]):
        for side in ("access", "bare") if number % 2 else ("bare", "access"):
            steps: list[float] = []
            start_s = perf_counter()
            with deadline.apply_deadline(deadline.Deadline(10.0)):
                if side == "bare":
                    ask(ready, vector, owner)
                else:
                    steps = query_with_access(vector)
            if number >= WARM_UP:
                totals[side].append((perf_counter() - start_s) * 1e3)
                if steps:
                    parts.append(steps)
    added_ms = np.array(totals["access"]) - np.array(totals["bare"])
    return {
        "rows": ready.rows,
        "questions": num_queries,
        "bare_p50_ms": round(float(np.median(totals["bare"])), 2),
        "access_p50_ms": round(float(np.median(totals["access"])), 2),
        "added_p50_ms": round(float(np.median(added_ms)), 2),
        "parts_p50_ms": {
            name: round(float(np.median([steps[number] for steps in parts])), 2)
            for number, name in enumerate(PARTS)
        },
    }
