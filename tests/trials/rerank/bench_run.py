"""Where everything of a run lies, the stack that it stands on, and the commands it is made with.

The stack is one of its own below the run's home, as `pinpoint up` makes it. It stays on disk when
the run ends or is broken off, so that the next one finds its gallery.
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
    at_once: int
    of_each: int | None = None
    """So many of the test's questions of each kind are asked in ablations, and about a planet whose
    bundle comes from another; None asks all."""
    trained: BenchRun | None = None
    """Another planet's run, whose bundle and calibrations are asked here, untouched."""

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
        """The smallest planet has too few authors to promise anything."""
        return self.preset != "tiny"

    @property
    def settings(self) -> Settings:
        """Of the stack, whatever the environment says."""
        return Settings(
            services=ServiceSettings(home=self.stack),
            encoder=EncoderSettings(bundle=BUNDLE, device="cpu"),
        )

    @property
    def ablations(self) -> Path:
        """What ablations leave; those of other questions lie elsewhere."""
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
        """A command as it is typed; its document. What it says meanwhile is seen at once.

        Raises:
            RuntimeError: It failed.
        """
        (said,) = self.commands(words, bundle=bundle)
        return said

    def commands(self, *together: Sequence[str | Path], bundle: str = BUNDLE) -> list[Any]:
        """Several commands at a time; where one fails, or this is broken off, all of them end.

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
        """The stack is up; afterwards it is down, and all that it holds stays."""
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
    # Who ends a run must not leave its servers behind.
    raise KeyboardInterrupt(f"signal {number}")
