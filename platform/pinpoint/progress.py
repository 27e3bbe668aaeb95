"""Callbacks that report the progress of long work."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Receives the progress of work with one stage."""

    def __call__(self, completed: int, total: int, /) -> None:
        """Report progress.

        Args:
            completed: Units that are finished, such as files or queries.
            total: Units of the whole work.
        """


class StageProgressCallback(Protocol):
    """Receives the progress of work with several stages."""

    def __call__(self, stage: str, completed: int, total: int, /) -> None:
        """Report progress.

        Args:
            stage: Name of the current stage.
            completed: Units of this stage that are finished.
            total: Units of this stage.
        """
