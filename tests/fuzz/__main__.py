"""`pinpoint bench fuzz TARGET --seconds N`: coverage-guided fuzzing of one target with atheris.

Exits with status 0 and a line of counts, or with status 1 and the failing input in hexadecimal.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pinpoint", "PIL.Image", "PIL.TiffImagePlugin"]):
    from fuzz.seeds import seeds, twist
    from fuzz.targets import TARGETS, sweep

MAX_BYTES = 20_000


def main() -> None:
    """Fuzz until the time limit."""
    parser = argparse.ArgumentParser(prog="pinpoint bench fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # Pillow's, as in the decoding child
    corpus = tempfile.mkdtemp(prefix="pinpoint-fuzz-")
    target, start, runs = TARGETS[arguments.target], time.monotonic(), 0

    def end(status: int) -> None:
        # libFuzzer can only be stopped by ending the whole process.
        sweep()
        shutil.rmtree(corpus, ignore_errors=True)
        sys.stdout.flush()
        os._exit(status)

    def run_input(data: bytes) -> None:
        nonlocal runs
        runs += 1
        try:
            target(data)
        except BaseException:
            sys.stdout.write(f"found {arguments.target} after {runs}: {data.hex()}\n")
            traceback.print_exc()
            end(1)
        if time.monotonic() - start > arguments.seconds:
            rate = runs / (time.monotonic() - start)
            sys.stdout.write(
                f"fuzzed {arguments.target}: {runs} inputs, {rate:.0f}/s, none found\n"
            )
            end(0)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        other = twist(data, most, seed) if arguments.target == "frames" and seed % 4 else None
        return atheris.Mutate(data, most) if other is None else other

    for number, data in enumerate(seeds(arguments.target)):
        (Path(corpus) / f"{number:04d}").write_bytes(data)
    limits = [
        f"-seed={arguments.seed}",
        f"-max_len={MAX_BYTES}",
        "-timeout=20",
        "-rss_limit_mb=2000",
    ]
    quiet = ["-verbosity=0", f"-artifact_prefix={corpus}/"]
    atheris.Setup([sys.argv[0], *limits, *quiet, corpus], run_input, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
