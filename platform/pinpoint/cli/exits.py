"""Exit codes by error class, with the numbers of `sysexits.h`."""

from __future__ import annotations

from typing import Final

from pinpoint import errors

USAGE: Final = 2
"""Invalid command line; the code that typer uses."""
FAILED_ITEMS: Final = 1
"""The command worked, but some of its files or photos failed."""
INTERNAL: Final = 70
INTERRUPTED: Final = 130
"""Ctrl-C, as in shells: 128 plus the number of the signal."""

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
"""Exit code by exact class."""
