"""One way to log: structlog, JSON lines by default, context carried by contextvars."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

import structlog

from pinpoint.settings import LogSettings


def configure(settings: LogSettings) -> None:
    """Send structlog and the standard library's loggers to stderr in one form."""
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


def bound(**context: object) -> AbstractContextManager[None]:
    """Every log line written inside, in this thread, carries `context` too."""
    return structlog.contextvars.bound_contextvars(**context)


def here() -> dict[str, Any]:
    """What log lines carry at this place."""
    return dict(structlog.contextvars.get_contextvars())


def begin(**context: object) -> None:
    """Forget what log lines carried so far; from now on they carry `context`."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**context)


def get(name: str) -> Any:
    """A logger bound to `name`; nothing is configured by asking for one."""
    return structlog.get_logger(name)
