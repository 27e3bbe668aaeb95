"""One function for each kind of fault; it returns when the fault is over, before the recovery."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pinpoint.stack.servers.postgres import STOP_S, PostgresServer
from trials.soak.fault_stack import LEASE_S, FaultStack

Fault = Callable[[FaultStack, random.Random], None]


def _kill(name: str) -> Fault:
    def kill(stack: FaultStack, dice: random.Random) -> None:
        _signal(stack.pid(name), signal.SIGKILL)
        if name == "supervisor":
            stack.up()  # what an init system does

    return kill


def _stop(name: str) -> Fault:
    def stop(stack: FaultStack, dice: random.Random) -> None:
        pid = stack.pid(name)
        _signal(pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0.5, 2.0))
        _signal(pid, signal.SIGCONT)

    return stop


def kill_engine(stack: FaultStack, dice: random.Random) -> None:
    """SIGKILL to the process that has the index open; its owner starts another one."""
    for engine in _engines(stack):
        _signal(engine.pid, signal.SIGKILL)


def stop_engine(stack: FaultStack, dice: random.Random) -> None:
    """Stop the process that has the index open for a while; its owner waits."""
    engines = _engines(stack)
    for engine in engines:
        _signal(engine.pid, signal.SIGSTOP)
    time.sleep(dice.uniform(0.5, 2.0))
    for engine in engines:
        _signal(engine.pid, signal.SIGCONT)


def _engines(stack: FaultStack) -> list[psutil.Process]:
    owner = stack.pid("index")
    if owner is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(owner).children()
            return [one for one in children if "pinpoint.stack.index.engine_process" in _title(one)]
    return []


def kill_second(stack: FaultStack, dice: random.Random) -> None:
    """SIGKILL to the worker beside the supervised one; it is started again with the next phase."""
    _signal(stack.second_pid, signal.SIGKILL)


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def slow_worker(stack: FaultStack, dice: random.Random) -> None:
    """Stop the worker that holds a lease until the lease has ended, then let it go on."""
    until, pid = time.monotonic() + 2.0, None
    while pid is None and time.monotonic() < until:
        owners = stack.sql("SELECT DISTINCT lease_owner FROM batch_items WHERE lease_until > now()")
        pid = int(owners[0][0].split("/")[1]) if owners else None
    pid = pid or stack.pid("worker")
    _signal(pid, signal.SIGSTOP)
    time.sleep(LEASE_S + dice.uniform(0.5, 2.0))
    _signal(pid, signal.SIGCONT)


def restart_redis(stack: FaultStack, dice: random.Random) -> None:
    """End Redis, politely or not; the supervisor starts it again."""
    _signal(stack.pid("redis"), dice.choice([signal.SIGTERM, signal.SIGKILL]))


def broker_away(stack: FaultStack, dice: random.Random) -> None:
    """No broker at all for seconds, while uploads go on arriving."""
    with contextlib.suppress(OSError):
        stack.supervisor.stop(["redis"], 5.0)
        time.sleep(dice.uniform(1.0, 2.5))
    with contextlib.suppress(OSError):
        stack.supervisor.start("redis")


def kill_postgres(stack: FaultStack, dice: random.Random) -> None:
    """SIGKILL to the postmaster."""
    if (postmaster := _postmaster(stack)) is not None:
        _signal(postmaster.pid, signal.SIGKILL)


def restart_postgres(stack: FaultStack, dice: random.Random) -> None:
    """PostgreSQL's fast shutdown, as the supervisor asks for it: all sessions are ended.

    PostgreSQL 15 that is asked while it recovers from a killed session never ends (seed 4131), with
    only its checkpointer left; the supervisor kills such a one. Any other that stays is an error.
    """
    if (postmaster := _postmaster(stack)) is None:
        return
    _signal(postmaster.pid, signal.SIGINT)
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            postmaster.wait(STOP_S)
        except psutil.TimeoutExpired:
            left = [_title(one) for one in postmaster.children()]
            if any("checkpointer" not in title for title in left):
                raise AssertionError(f"PostgreSQL does not stop for {left}") from None
            postmaster.kill()


def kill_backend(stack: FaultStack, dice: random.Random) -> None:
    """SIGKILL to one session: PostgreSQL ends all the others and recovers."""
    if (postmaster := _postmaster(stack)) is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        sessions = [one for one in postmaster.children() if "local" in _title(one)]
        if sessions:
            _signal(dice.choice(sessions).pid, signal.SIGKILL)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _postmaster(stack: FaultStack) -> psutil.Process | None:
    return PostgresServer(stack.paths).postmaster()


def _full(folder: str) -> Fault:
    def full(stack: FaultStack, dice: random.Random) -> None:
        filler = Path(stack.paths.home / folder / "filler")
        try:
            _fill(filler)
            time.sleep(dice.uniform(1.0, 2.5))
        finally:
            filler.unlink(missing_ok=True)

    return full


def restart_when_full(stack: FaultStack, dice: random.Random) -> None:
    """The index owner has to start on a full disk."""
    filler = stack.paths.index_dir / "filler"
    try:
        _fill(filler)
        _signal(stack.pid("index"), signal.SIGKILL)
        time.sleep(dice.uniform(1.0, 4.0))
    finally:
        filler.unlink(missing_ok=True)


def _fill(filler: Path) -> None:
    """Take every free byte of a small file system."""
    block = b"\0" * 65_536
    with filler.open("wb", buffering=0) as file:
        while len(block):
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


def step_clock(sign: int) -> Fault:
    """Set the clock of every process forward or back, by seconds up to an hour."""

    def step(stack: FaultStack, dice: random.Random) -> None:
        seconds = sign * dice.choice([2, 30, 600, 3_600])
        if stack.faked_clock:
            stack.set_clock(stack.offset_s + seconds)
        else:
            stack.sql(
                "UPDATE batch_items SET lease_until = lease_until - make_interval(secs => %s)"
                " WHERE lease_until IS NOT NULL",
                seconds,
            )

    return step


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": _kill(name) for name in ("worker", "index", "api", "beat", "supervisor")},
    **{f"stop {name}": _stop(name) for name in ("worker", "index", "api", "beat", "supervisor")},
    "kill engine": kill_engine,
    "stop engine": stop_engine,
    "kill 2nd worker": kill_second,
    "slow worker": slow_worker,
    "restart redis": restart_redis,
    "broker away": broker_away,
    "kill postgres": kill_postgres,
    "restart postgres": restart_postgres,
    "kill backend": kill_backend,
    "blobs full": _full("blobs"),
    "index full": _full("index"),
    "start when full": restart_when_full,
    "clock forward": step_clock(1),
    "clock back": step_clock(-1),
}
VICTIMS = {
    "kill postgres": "postgres",
    "restart postgres": "postgres",
    "restart redis": "redis",
    **{f"kill {name}": name for name in ("worker", "index", "api", "beat")},
}
NEED_SMALL_DISKS = ("blobs full", "index full", "start when full")


def schedule(seed: int, count: int, *, small_disks: bool) -> list[str]:
    """Kinds of fault in order: shuffled rounds of all of them, so that none is left out."""
    dice = random.Random(seed)
    kinds = [kind for kind in FAULTS if small_disks or kind not in NEED_SMALL_DISKS]
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += dice.sample(kinds, len(kinds))
    return chosen[:count]
