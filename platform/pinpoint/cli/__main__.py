"""`python -m pinpoint.cli`: the same as the command `pinpoint`."""

from __future__ import annotations

from pinpoint.cli.main import main

if __name__ == "__main__":
    main()
