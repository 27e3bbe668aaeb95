"""The table from error class to exit code; the numbers are those of `sysexits.h`."""

from __future__ import annotations

from typing import Final

from pinpoint import errors

USAGE: Final = 2
"""The command line itself was wrong; typer's own code."""
FAILED_ITEMS: Final = 1
"""The command worked, but some of the files or photos it was given did not."""
INTERNAL: Final = 70
INTERRUPTED: Final = 130
"""Ctrl-C, as shells count it: 128 and the number of the signal."""

EXIT: Final[dict[type[errors.PinpointError], int]] = {
    errors.PinpointError: INTERNAL,
    errors.BadRequest: 64,
    errors.BadPhoto: 65,
    errors.BadManifest: 65,
    errors.TooLarge: 65,
    errors.NotAuthenticated: 77,
    errors.NotAllowed: 77,
    errors.NotFound: 66,
    errors.Conflict: 73,
    errors.Unavailable: 69,
    errors.DatabaseUnavailable: 69,
    errors.IndexUnavailable: 69,
    errors.BrokerUnavailable: 69,
    errors.BadBundle: 78,
    errors.OtherContract: 78,
    errors.Misconfigured: 78,
    errors.StackError: 75,
}
"""Exit code by exact class; `tests/cli/test_exits.py` keeps it complete."""
