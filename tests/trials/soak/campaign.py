"""Runs of the script under faults, each compared with a quiet run, and a table of them."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinpoint.stack.supervisor import lifecycle
from trials.soak import faults
from trials.soak.compare import State, differences, measure_drift, pruned, state_of
from trials.soak.fault_stack import FaultStack
from trials.soak.player import Player, prepare
from trials.soak.script import World

SETTLED_S = 120.0
BACK_S = 120.0
GAP_S = (0.3, 1.2)


@dataclass
class Run:
    """One play of the script under faults."""

    seed: int
    kinds: list[str]
    seconds: float = 0.0
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    settling: list[float] = field(default_factory=list)
    retries: int = 0
    unstated: list[str] = field(default_factory=list)
    orphans: int = 0
    drift: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differences


class Campaign:
    """Runs on one stack.

    Args:
        stack: The stack.
        folder: Where folder operations write their files.
        phases: How many phases of the script are played; five faults fall into each.
    """

    def __init__(self, stack: FaultStack, folder: Path, phases: int = 4) -> None:
        self._stack = stack
        self._folder = folder
        self._phases = phases
        self._number = 0
        self._quiet: dict[int, State] = {}
        self.runs: list[Run] = []

    @property
    def small_disks(self) -> bool:
        """Whether disks can be filled."""
        return self._stack.small_disks

    def _player(self, name: str) -> Player:
        self._number += 1
        folder = self._folder / f"{self._number:04d}"
        return Player(self._stack, f"{name}-{self._number}", folder)

    def quiet(self, world: int) -> State:
        """The state after the script when nothing goes wrong."""
        if world not in self._quiet:
            self._well()
            player = self._player("quiet")
            prepare(player)
            for phase in World(world).phases()[: self._phases]:
                player.play(phase, 3)
                player.settle(SETTLED_S)
            self._quiet[world] = state_of(player)
            if self._quiet[world].wrong or self._quiet[world].orphans:
                raise AssertionError(f"the quiet run is not clean: {self._quiet[world]}")
            player.close()
        return self._quiet[world]

    def run(self, world: int, seed: int, count: int) -> Run:
        """Play the script of a world under `count` faults and compare."""
        wanted = self.quiet(world)
        dice = random.Random(seed)
        kinds = faults.schedule(seed, count, small_disks=self._stack.small_disks)
        played = Run(seed, kinds)
        self.runs.append(played)
        player = self._player("faulty")
        prepare(player)
        began = time.monotonic()
        with ThreadPoolExecutor(64) as watchers, ThreadPoolExecutor(1) as playing:
            watched: list[Future[Any]] = []
            per_phase = -(-count // self._phases)
            for number, phase in enumerate(World(world).phases()[: self._phases]):
                self._stack.second_worker()
                script = playing.submit(player.play, phase, 3)
                for kind in kinds[number * per_phase : (number + 1) * per_phase]:
                    time.sleep(dice.uniform(*GAP_S))
                    watched.append(watchers.submit(self._watch, kind, *self._inject(kind, dice)))
                script.result()
                played.settling.append(player.settle(SETTLED_S))
            played.recoveries = [one.result() for one in watched]
        played.seconds = time.monotonic() - began
        self._finish(player, played, wanted)
        return played

    def _finish(self, player: Player, played: Run, wanted: State) -> None:
        self._well()
        played.orphans = pruned(player)
        state = state_of(player)
        played.drift = measure_drift(player.stack).total
        played.differences = differences(wanted, state)
        if state.orphans:
            played.differences.append(f"{state.orphans} blobs without a row outlive `prune`")
        played.retries = player.retries.total()
        played.unstated = player.unstated
        player.close()

    def _inject(self, kind: str, dice: random.Random) -> tuple[float, int | None]:
        victim = faults.VICTIMS.get(kind)
        before = self._stack.pid(victim) if victim else None
        began = time.monotonic()
        faults.FAULTS[kind](self._stack, dice)
        return began, before

    def _watch(self, kind: str, began: float, before: int | None) -> tuple[str, float]:
        """Seconds until everything answers again and the victim is another process."""
        victim = faults.VICTIMS.get(kind)
        while time.monotonic() - began < BACK_S:
            new = self._stack.pid(victim) if victim else -1
            another = new not in (None, before) or (victim and before is None)
            if another and lifecycle.stack_status(self._stack.settings).state == "up":
                break
            time.sleep(0.2)
        return kind, time.monotonic() - began

    def _well(self) -> None:
        """Everything is back, or it is said what is not."""
        until = time.monotonic() + BACK_S
        while (now := lifecycle.stack_status(self._stack.settings)).state != "up":
            if time.monotonic() > until:
                raise AssertionError(f"the stack is not back by itself: {now}")
            time.sleep(0.2)

    def table(self) -> str:
        """What was done and seen, for people."""
        done: dict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            for kind, seconds in run.recoveries:
                done[kind].append(seconds)
        total = sum(len(run.recoveries) for run in self.runs)
        lines = [f"{'fault':18} {'times':>5} {'median s':>9} {'longest s':>10}"]
        lines += [
            f"{kind:18} {len(s):5d} {statistics.median(s):9.1f} {max(s):10.1f}"
            for kind, s in sorted(done.items())
        ]
        seconds = sum(run.seconds for run in self.runs)
        settled = max((max(run.settling, default=0.0) for run in self.runs), default=0.0)
        lines += [
            f"faults {total} in {len(self.runs)} runs, "
            f"{sum(run.equal for run in self.runs)} runs equal, "
            f"drift {sum(run.drift for run in self.runs)}, "
            f"{seconds / max(total, 1):.1f} s a fault, longest settling {settled:.1f} s",
            f"calls tried again {sum(run.retries for run in self.runs)}, "
            f"unstated errors {sum(len(run.unstated) for run in self.runs)}, "
            f"orphaned blobs, all pruned, {sum(run.orphans for run in self.runs)}",
        ]
        return "\n".join(lines)
