"""Logging by structlog: JSON lines by default, context in contextvars."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

import structlog

from pinpoint.settings import LogSettings


def configure(settings: LogSettings) -> None:
    """Send structlog and the standard library's loggers to stderr in one format."""
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.json_lines
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def bind_context(**context: object) -> AbstractContextManager[None]:
    """Add `context` to every log line written inside, in this thread."""
    return structlog.contextvars.bound_contextvars(**context)


def current_context() -> dict[str, Any]:
    """Context of log lines in this thread."""
    return dict(structlog.contextvars.get_contextvars())


def reset_context(**context: object) -> None:
    """Replace the context of log lines by `context`."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**context)


def get_logger(name: str) -> Any:
    """Get the logger `name`; this configures nothing."""
    return structlog.get_logger(name)
