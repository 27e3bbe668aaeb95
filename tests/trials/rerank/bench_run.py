"""The folders, the stack and the commands of a benchmark run.

The run has its own stack below its home, as `pinpoint up` makes it. The stack stays on disk after
the run or an interrupt, so that the next run has its gallery.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.stack.supervisor import lifecycle

PRESETS = ("tiny", "small", "bench")
BUNDLE, RERANKED, ALONE = "world-tiny", "world-tiny-reranked", "world-tiny-alone"
"""The shipped bundle, the trained one, and the one whose candidates do not see each other."""
KINDS = ("photo", "street")
Process = subprocess.Popen[bytes]
_LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """One run."""

    home: Path
    preset: str
    seed: int
    concurrency: int
    of_each: int | None = None
    """Number of test queries of each kind in ablations and with another planet's bundle; None means
    all."""
    trained: BenchRun | None = None
    """Run on another planet, whose bundle and calibrations are evaluated here unchanged."""

    @property
    def planet(self) -> Path:
        return self.home / "planet"

    @property
    def stack(self) -> Path:
        return self.home / "stack"

    @property
    def tables(self) -> Path:
        return self.home / "tables.md"

    @property
    def calibrates(self) -> bool:
        """Whether the run calibrates; the smallest planet has too few creators."""
        return self.preset != "tiny"

    @property
    def settings(self) -> Settings:
        """Settings of the stack, independent of the environment."""
        return Settings(
            services=ServiceSettings(home=self.stack),
            encoder=EncoderSettings(bundle=BUNDLE, device="cpu"),
        )

    @property
    def ablations(self) -> Path:
        """Folder of the ablations; each number of queries has its own."""
        return self.home / ("ablations" if self.of_each is None else f"ablations-{self.of_each}")

    def run(self, name: str) -> Path:
        """Folder of an evaluation."""
        return self.home / "runs" / name

    def training(self, name: str) -> Path:
        """Folder of a training run."""
        return self.home / "training" / name

    def bundle(self, name: str) -> Path:
        """Folder of a trained bundle."""
        return self.stack / "bundles" / name

    def command(self, *words: str | Path, bundle: str = BUNDLE) -> Any:
        """Run a command and return its JSON document; its progress is shown at once.

        Raises:
            RuntimeError: It failed.
        """
        (said,) = self.commands(words, bundle=bundle)
        return said

    def commands(self, *together: Sequence[str | Path], bundle: str = BUNDLE) -> list[Any]:
        """Run several commands concurrently; after a failure or an interrupt all of them end.

        Raises:
            RuntimeError: One failed.
        """
        with ExitStack() as ends:
            running = []
            for words in together:
                said = ends.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
                process = self._begun(words, said, bundle)
                ends.callback(_end, process)
                running.append((words, process, said))
            while any(process.poll() is None for _, process, _ in running):
                _check(running)
                time.sleep(_LOOK_S)
            _check(running)
            for _, _, said in running:
                said.seek(0)
            return [json.load(said) for _, _, said in running]

    def _begun(self, words: Sequence[str | Path], said: IO[str], bundle: str) -> Process:
        plain = {name: value for name, value in os.environ.items() if "PINPOINT_" not in name}
        return subprocess.Popen(
            [sys.executable, "-m", "pinpoint.cli", *map(str, words), "--json"],
            env={
                **plain,
                "PINPOINT_HOME": str(self.stack),
                "PINPOINT_BUNDLE": bundle,
                "PINPOINT_DEVICE": "cpu",
                "PYTHONPATH": os.pathsep.join(sys.path),
                # Idle threads of one process would spin where the others want to work.
                "OMP_WAIT_POLICY": "passive",
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
        )

    @contextmanager
    def run_stack(self) -> Iterator[None]:
        """Start the stack, and stop it afterwards; its data stays."""
        self.stack.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = signal.signal(signal.SIGTERM, _interrupted)
        try:
            lifecycle.start_stack(self.settings, say)
            yield
        finally:
            lifecycle.stop_stack(self.settings)
            signal.signal(signal.SIGTERM, before)


def _check(running: Iterable[tuple[Sequence[str | Path], Process, IO[str]]]) -> None:
    for words, process, _ in running:
        if process.poll():
            raise RuntimeError(f"pinpoint {' '.join(map(str, words))} left {process.poll()}")


def _end(process: Process) -> None:
    process.kill()
    process.wait()


def say(text: str) -> None:
    """A line of the log, with the time."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _interrupted(number: int, _: object) -> None:
    # The end of a run must also end its servers.
    raise KeyboardInterrupt(f"signal {number}")
