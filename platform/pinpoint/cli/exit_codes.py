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

EXIT_CODES: Final[dict[type[errors.PinpointError], int]] = {
    errors.PinpointError: INTERNAL,
    errors.BadRequestError: 64,
    errors.BadPhotoError: 65,
    errors.BadManifestError: 65,
    errors.TooLargeError: 65,
    errors.UnauthenticatedError: 77,
    errors.ForbiddenError: 77,
    errors.NotFoundError: 66,
    errors.ConflictError: 73,
    errors.UnavailableError: 69,
    errors.DatabaseUnavailableError: 69,
    errors.IndexUnavailableError: 69,
    errors.BrokerUnavailableError: 69,
    errors.BadBundleError: 78,
    errors.ModelMismatchError: 78,
    errors.ConfigurationError: 78,
    errors.StackError: 75,
}
"""Exit code by exact class."""
