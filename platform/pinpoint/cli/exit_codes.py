"""Exit codes by error class, with the numbers of `sysexits.h`."""

from __future__ import annotations

import os
from typing import Final

from pinpoint import errors

FAILED_ITEMS: Final = 1
"""The command ran, but some of its files or photos failed. `sysexits.h` has no such code; 1 is the
conventional code of a partial failure."""
USAGE: Final = 2
"""Invalid command line. typer ends with 2, not with `EX_USAGE` (64)."""
STACK_NOT_UP: Final = 3
"""`pinpoint status` found that the stack is not up, as `systemctl status` does."""
INVALID_DOSSIER: Final = os.EX_DATAERR
"""`pinpoint verify-dossier` found a problem."""
INTERNAL: Final = os.EX_SOFTWARE
INTERRUPTED: Final = 130
"""Ctrl-C. Shells use 128 plus the number of the signal."""

EXIT_CODES: Final[dict[type[errors.PinpointError], int]] = {
    errors.PinpointError: INTERNAL,
    errors.BadRequestError: os.EX_USAGE,
    errors.InvalidRequestError: os.EX_USAGE,
    errors.BadPhotoError: os.EX_DATAERR,
    errors.UnsupportedQueryError: os.EX_USAGE,
    errors.BadManifestError: os.EX_DATAERR,
    errors.TooLargeError: os.EX_DATAERR,
    errors.UnauthenticatedError: os.EX_NOPERM,
    errors.ForbiddenError: os.EX_NOPERM,
    errors.NotFoundError: os.EX_NOINPUT,
    errors.RemoteFileError: os.EX_NOINPUT,
    errors.ConflictError: os.EX_CANTCREAT,
    errors.PreconditionError: os.EX_CANTCREAT,
    errors.QuotaExceededError: os.EX_TEMPFAIL,
    errors.AbnormalUsageError: os.EX_NOPERM,
    errors.UnavailableError: os.EX_UNAVAILABLE,
    errors.DatabaseUnavailableError: os.EX_UNAVAILABLE,
    errors.IndexUnavailableError: os.EX_UNAVAILABLE,
    errors.BrokerUnavailableError: os.EX_UNAVAILABLE,
    errors.BadBundleError: os.EX_CONFIG,
    errors.ModelMismatchError: os.EX_CONFIG,
    errors.ConfigurationError: os.EX_CONFIG,
    errors.StackError: os.EX_TEMPFAIL,
}
"""Exit code by exact class."""
