"""`python liveness.py HOST PORT`: asks for liveness every 50 ms until stdin closes.

A process of its own, so that the load's threads do not delay the clock. One line on stdout: a JSON
list of `[started, seconds, status]`, seconds since the Unix epoch and status 0 for no answer.
"""

from __future__ import annotations

import http.client
import json
import select
import sys
import time

PAUSE_S = 0.05
GIVEN_UP_S = 30.0


def ask_once(host: str, port: int) -> tuple[float, float, int]:
    """One request over a new connection."""
    started, clock = time.time(), time.monotonic()
    status = 0
    connection = http.client.HTTPConnection(host, port, timeout=GIVEN_UP_S)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except OSError:
        status = 0
    finally:
        connection.close()
    return started, time.monotonic() - clock, status


def main() -> None:
    """Send requests until stdin closes."""
    host, port = sys.argv[1], int(sys.argv[2])
    seen = []
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        seen.append(ask_once(host, port))
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
