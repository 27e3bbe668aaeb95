"""The steps of a run; a finished step is not repeated."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trials.rerank import ablations, tables
from trials.rerank.bench_run import ALONE, KINDS, RERANKED, BenchRun, say

RECIPE = Path(__file__).parents[3] / "docs" / "configs" / "world-tiny-reranked.toml"
RANKERS = ("vote", "rerank")
SMALLER = {
    "tiny": {"steps = 4000": "steps = 20\nbatch_size = 8\ncheckpoint_steps = 10"},
    "small": {"steps = 4000": "steps = 400\ncheckpoint_steps = 100"},
}
"""Changes of the recipe for smaller planets, which also have fewer regions to split."""
_DIVIDED = "\n[split]\nval_fraction = 0.3\n"


def planet(bench: BenchRun) -> Any:
    """Generate the planet."""
    options = ("--preset", bench.preset, "--seed", str(bench.seed))
    return bench.command("synthetic", "create", bench.planet, *options)


def gallery(bench: BenchRun) -> Any:
    """Ingest the galleries of both kinds for training, calibration and test."""
    roles = ("test",) if bench.trained else ("rerank", "calibration", "test")
    return [_ingested(bench, role) for role in roles]


def train(bench: BenchRun) -> Any:
    """Train the recipe's reranker, and one without attention between candidates."""
    if bench.trained is not None:
        return _taken_along(bench, bench.trained)
    text = RECIPE.read_text(encoding="utf-8")
    for old, new in SMALLER.get(bench.preset, {}).items():
        text = _changed(text, old, new)
    text += _DIVIDED if bench.preset in SMALLER else ""
    made = [_trained(bench, RERANKED, text)]
    alone = _changed(text, f'name = "{RERANKED}"', f'name = "{ALONE}"')
    alone = _changed(alone, "candidate_blocks = 2", "candidate_blocks = 0")
    # Both have the same examples, so they are cached once.
    shared = bench.training(ALONE) / "examples"
    if not shared.is_symlink():
        shared.parent.mkdir(parents=True)
        shared.symlink_to(bench.training(RERANKED) / "examples")
    return [*made, _trained(bench, ALONE, alone)]


def calibrate(bench: BenchRun) -> Any:
    """Calibrate both rankers on the calibration split and on regions without a gallery.

    The gallery is about as large as the test's. With fewer images the correct one is easier to
    retrieve, and 90 % areas fitted there would cover less often with a larger gallery.
    """
    if not bench.calibrates:
        return "left out: this planet has too few creators"
    wide = ("calibration", "rerank")
    runs = _evaluated(bench, "calibration", ("calibration", "null-train"), galleries=wide)
    return [bench.command("calibrate", run, bundle=RERANKED) for run in runs]


def test(bench: BenchRun) -> Any:
    """Evaluate both rankers in the open setting and in regions without a gallery."""
    roles = ("test", "null-test")
    if bench.trained and bench.of_each:
        labels = _fewer(bench, "test")
        return list(map(str, _evaluated(bench, "test", roles[:1], labels=labels)))
    return list(map(str, _evaluated(bench, "test", roles)))


def ablate(bench: BenchRun) -> Any:
    """Run the test queries with fewer candidates and with candidates of one kind."""
    return ablations.run_searches(bench)


def closed(bench: BenchRun) -> Any:
    """Evaluate both rankers on the regions of the embedder's training."""
    _ingested(bench, "train")
    return list(map(str, _evaluated(bench, "train", ("train",))))


def tabled(bench: BenchRun) -> Any:
    """Everything as Markdown."""
    bench.tables.write_text(tables.make_report(bench), encoding="utf-8")
    return str(bench.tables)


STEPS: dict[str, Callable[[BenchRun], Any]] = {
    "planet": planet,
    "gallery": gallery,
    "train": train,
    "calibrate": calibrate,
    "test": test,
    "ablate": ablate,
    "closed": closed,
    "tables": tabled,
}
ELSEWHERE = ("planet", "gallery", "train", "test", "tables")
"""Steps with another planet's bundle: only the headline table."""
_NEEDS_STACK = ("gallery", "train", "calibrate", "test", "ablate", "closed")
"""Steps that need the stack."""


def run_steps(bench: BenchRun, names: tuple[str, ...]) -> None:
    """Run every wanted step that is not done; the tables are always made again."""
    todo = [name for name in STEPS if name in names and not _done(bench, name)]
    with ExitStack() as ends:
        for name in todo:
            if name == next((each for each in todo if each in _NEEDS_STACK), None):
                ends.enter_context(bench.run_stack())
            _run_step(bench, name)


def _done(bench: BenchRun, name: str) -> bool:
    if name == "tables":
        return False
    mark = _mark(bench, name)
    if not mark.is_file():
        return False
    said = json.loads(mark.read_text(encoding="utf-8"))
    if (said["preset"], said["seed"]) != (bench.preset, bench.seed):
        raise RuntimeError(f"{bench.home} holds preset {said['preset']} of seed {said['seed']}")
    say(f"{name}: there already, took {said['took_s']:.0f} s")
    return True


def _run_step(bench: BenchRun, name: str) -> None:
    say(f"{name}: begins")
    began, before = time.monotonic(), _cpu_s()
    result = STEPS[name](bench)
    took_s, cpu_s = time.monotonic() - began, _cpu_s() - before
    said = {"preset": bench.preset, "seed": bench.seed, "took_s": took_s, "result": result}
    mark = _mark(bench, name)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(said, indent=1), encoding="utf-8")
    say(f"{name}: took {took_s:.0f} s, {cpu_s:.0f} CPU s of it here and in commands")


def _mark(bench: BenchRun, name: str) -> Path:
    folder = bench.ablations if name == "ablate" else bench.home / "done"
    return folder / f"{name}.json"


def _cpu_s() -> float:
    """CPU time of this process and of finished commands, without servers."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(each) for each in both]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ingested(bench: BenchRun, role: str) -> list[Any]:
    """Ingest a role's galleries, one source per kind; known files are duplicates."""
    batches = []
    for kind in KINDS:
        source = f"{role}-{kind}"
        manifest = bench.planet / "galleries" / source / "manifest.csv"
        batch = bench.command(
            "ingest", manifest, "--source", source, "--source-kind", kind, "--wait"
        )
        lost = batch["rejected"] + batch["failed"]
        if lost:
            raise RuntimeError(f"{lost} images of {source} were not taken in")
        say(f"{source}: {batch['indexed']} images taken in, {batch['duplicate']} known")
        batches.append(batch)
    return batches


def _taken_along(bench: BenchRun, there: BenchRun) -> str:
    """Copy the bundle with its calibrations, and its training report."""
    for old, new in (
        (there.bundle(RERANKED), bench.bundle(RERANKED)),
        (there.training(RERANKED) / "report.json", bench.training(RERANKED) / "report.json"),
    ):
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_dir():
            shutil.copytree(old, new, dirs_exist_ok=True)
        else:
            shutil.copyfile(old, new)
    return f"taken from {there.home}"


def _changed(text: str, old: str, new: str) -> str:
    """The recipe with one line changed.

    Raises:
        RuntimeError: It does not have that line once.
    """
    if text.count(old) != 1:
        raise RuntimeError(f"the recipe {RECIPE} does not say {old!r} once")
    return text.replace(old, new)


def _trained(bench: BenchRun, name: str, text: str) -> Any:
    if bench.bundle(name).is_dir():
        say(f"{name}: trained already")
        report = bench.training(name) / "report.json"
        return json.loads(report.read_text(encoding="utf-8"))["validation"]
    config = bench.planet / f"{name}.toml"
    config.write_text(text, encoding="utf-8")
    out = ("--out", bench.training(name), "--concurrency", str(bench.concurrency))
    made = bench.command("train", "reranker", "--config", config, *out)
    return made["validation"]


def _fewer(bench: BenchRun, role: str) -> Path:
    """Write labels with some of a role's queries to the planet's folder."""
    queries = bench.planet / "queries"
    with (queries / "labels.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if row["role"] == role]
        names = reader.fieldnames or ()
    labels = queries / f"labels-{role}-{bench.of_each}.csv"
    with labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        kept = ablations.some([row["query_kind"] for row in rows], bench.of_each)
        writer.writerows(rows[row] for row in kept)
    return labels


def _evaluated(
    bench: BenchRun,
    role: str,
    roles: tuple[str, ...],
    *,
    galleries: tuple[str, ...] = (),
    labels: Path | None = None,
) -> list[Path]:
    """Evaluate a role's queries with both rankers concurrently, on one or several galleries.

    One ranker does not use two cores. An interrupted run is resumed.
    """
    runs = {ranker: bench.run(f"{role}-{ranker}") for ranker in RANKERS}
    words = [f"--in-source={each}-{kind}" for each in galleries or (role,) for kind in KINDS]
    words += [f"--filter=role={one}" for one in roles]
    words += ["--no-unfiltered", f"--concurrency={bench.concurrency}"]
    words += ["--images", str(bench.planet if labels is None else labels.parent / "images")]
    words += [] if labels is None else ["--labels", str(labels)]
    todo = {ranker: out for ranker, out in runs.items() if not (out / "report.md").is_file()}
    say(f"{role}: to be asked with {' and '.join(todo) or 'nobody, it is done'}")
    bench.commands(
        *(
            ("evaluate", "synthetic", *words, "--ranker", each, "--out", out)
            for each, out in todo.items()
        ),
        bundle=RERANKED,
    )
    return list(runs.values())
