"""Detects changes of settings and code since a stack was started; `up` then restarts it."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Final

import pinpoint
from pinpoint.settings import Settings
from pinpoint.settings_file import find_setting
from pinpoint.stack.state import StackState

HASH_PREFIX: Final = "hmac-sha256:"
_NOT_SET: Final = "not set"


def settings_as_variables(settings: Settings) -> dict[str, str]:
    """Environment variables of all settings that have a value."""
    variables: dict[str, str] = {}
    for group_name in Settings.__slots__:
        group = getattr(settings, group_name)
        prefix = type(group).model_config["env_prefix"]
        for name, value in group.model_dump(mode="json", exclude_none=True).items():
            text = value if isinstance(value, str) else json.dumps(value)
            variables[f"{prefix}{name}".upper()] = text
    return variables


def record_settings(settings: Settings, key: str) -> dict[str, str]:
    """Settings as stored in `stack.json`: secrets as keyed hashes, so that changes are detected.

    Args:
        settings: Settings that the stack is started with.
        key: The operator's key; without it a short password could be guessed from its hash.
    """
    return {
        variable: _hash_secret(variable, value, key)
        for variable, value in settings_as_variables(settings).items()
    }


def describe_changes(state: StackState, settings: Settings, key: str) -> list[str]:
    """Reasons to restart a running stack, one per line; empty if there is none.

    Args:
        state: Recorded state of the running stack.
        settings: The current settings.
        key: The operator's key.
    """
    if not state.fingerprint:
        return ["the last `pinpoint up` did not finish"]
    before, now = state.settings, record_settings(settings, key)
    changes = [
        _describe_change(variable, before.get(variable), now.get(variable))
        for variable in sorted({*before, *now})
        if before.get(variable) != now.get(variable)
    ]
    if state.code != code_digest():
        changes.append("Pinpoint's code or its Python has changed")
    return changes


def fingerprint_settings(settings: Settings) -> str:
    """Hash of all settings and the code."""
    inputs = [settings_as_variables(settings), code_digest()]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def code_digest() -> str:
    """Hash of the code files (path, size, modification time) and the Python executable."""
    package = Path(pinpoint.__file__).parent
    roots = [package, package.parents[1] / "workers", package.parents[1] / "migrations"]
    files = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.suffix in (".py", ".sql")
    ]
    return hashlib.sha256(json.dumps([sys.executable, files]).encode()).hexdigest()[:32]


def _hash_secret(variable: str, value: str, key: str) -> str:
    if not _is_secret(variable):
        return value
    return HASH_PREFIX + hmac.new(key.encode(), value.encode(), "sha256").hexdigest()[:32]


def _is_secret(variable: str) -> bool:
    return not variable.endswith("_HOME") and find_setting(variable).secret


def _describe_change(variable: str, before: str | None, now: str | None) -> str:
    if any(value and value.startswith(HASH_PREFIX) for value in (before, now)):
        return f"{variable} changed"
    return f"{variable} was {before or _NOT_SET}, is {now or _NOT_SET}"
