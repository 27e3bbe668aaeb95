"""Settings file of a home: `settings.toml` overrides defaults; the environment overrides it.

One line per setting, named by its variable without `PINPOINT_` and in lower case:

    api_port = 8080
    bundle = "world-tiny"
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_type_hints

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import ConfigurationError
from pinpoint.settings import (
    ENVIRONMENT_PREFIX,
    STACK_VARIABLE,
    ServiceSettings,
    Settings,
)

FILE_NAME: Final = "settings.toml"
HIDDEN: Final = "(set, hidden)"
"""Text that replaces a secret in output."""
_SECRET_SUFFIXES: Final = ("url", "key", "token", "password", "secret")
_FILE_HEADER: Final = "# Settings of this Pinpoint home. `pinpoint config` changes them.\n"

Origin = Literal["environment", "file", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a file may contain.

    Args:
        name: Name in the file: `api_port`.
        slot: Name of its group in `Settings`.
        group: Class of its group.
        field: Name of its field in the group.
    """

    name: str
    slot: str
    group: type[BaseSettings]
    field: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{ENVIRONMENT_PREFIX}{self.name}".upper()

    @property
    def secret(self) -> bool:
        """Whether its value is hidden in output: keys, and URLs, which may contain a password."""
        return self.name.rsplit("_", 1)[-1] in _SECRET_SUFFIXES


@dataclass(frozen=True, slots=True)
class SettingValue:
    """Value of a setting, and its origin."""

    setting: Setting
    value: Any
    origin: Origin


@cache
def list_settings() -> dict[str, Setting]:
    """All settings except the home, by name, in the order of the groups."""
    settings: dict[str, Setting] = {}
    hints = get_type_hints(Settings.__init__)
    for slot in (name for name in hints if name != "return"):
        group = next(
            group_type for group_type in get_args(hints[slot]) if group_type is not type(None)
        )
        prefix = str(group.model_config["env_prefix"]).removeprefix(ENVIRONMENT_PREFIX).lower()
        for field in group.model_fields:
            name = f"{prefix}{field}"
            if name != "home":
                settings[name] = Setting(name, slot, group, field)
    return settings


def find_setting(name: str) -> Setting:
    """Find a setting by its name or its variable.

    Raises:
        ConfigurationError: There is no such setting; the message suggests the most similar one.
    """
    plain = name.strip().lower().removeprefix(ENVIRONMENT_PREFIX.lower())
    settings = list_settings()
    if plain in settings:
        return settings[plain]
    if plain == "home":
        raise ConfigurationError(
            "the home cannot be set in its own file; set PINPOINT_HOME, or give --home"
        )
    near = difflib.get_close_matches(plain, settings, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`pinpoint config list` shows all"
    raise ConfigurationError(f"there is no setting {name!r}; {hint}")


def settings_path(home: Path) -> Path:
    """Path of the settings file of a home; it need not exist."""
    return home / FILE_NAME


def read_file(home: Path) -> dict[str, Any]:
    """Read the values of the settings file, unconverted.

    Returns:
        Name to value; empty without a file.

    Raises:
        ConfigurationError: The file is not TOML, contains an unknown setting, or contains a secret
            while other users may read it.
    """
    path = settings_path(home)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"the settings file {path} cannot be read: {why}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the settings file {path} is not TOML: {error}") from error
    for name in values:
        try:
            find_setting(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error.message}") from error
    values = {find_setting(name).name: value for name, value in values.items()}
    secrets = [name for name in values if list_settings()[name].secret]
    if secrets and path.stat().st_mode & 0o077:
        raise ConfigurationError(
            f"{path} holds {', '.join(secrets)} and other users may read it; chmod 600 {path}"
        )
    return values


def load_settings(home: Path | None = None) -> Settings:
    """Read all groups: from the environment, else the home's file, else the defaults.

    Args:
        home: Overrides the home of the environment.

    Raises:
        ConfigurationError: A value is invalid, or the file contains an unknown setting; the message
            names it.
    """
    try:
        settings = Settings(services=None if home is None else ServiceSettings(home=home))
    except ValidationError as error:
        raise ConfigurationError(f"the environment: {describe_error(error)}") from error
    # A process of the stack has every setting in its environment. The file may have changed
    # since `up`; a restarted process must have the same settings as the others.
    if os.environ.get(STACK_VARIABLE) != str(settings.services.home.resolve()):
        apply_file(settings)
    return settings


def apply_file(settings: Settings) -> None:
    """Apply values of the home's file that neither the environment nor the caller has set.

    Raises:
        ConfigurationError: A value cannot be used; the message names file and setting.
    """
    home = settings.services.home
    values = read_file(home)
    for name, value in values.items():
        setting = list_settings()[name]
        group = getattr(settings, setting.slot)
        if setting.field in group.model_fields_set:
            continue
        converted = convert_value(setting, value, f"{settings_path(home)}: ")
        changed = group.model_copy(update={setting.field: getattr(converted, setting.field)})
        setattr(settings, setting.slot, changed)


def convert_value(setting: Setting, value: object, where: str = "") -> BaseSettings:
    """Make the setting's group with this value, validated like a value of the environment.

    Raises:
        ConfigurationError: The value cannot be used.
    """
    fields: dict[str, Any] = {setting.field: value}
    try:
        return setting.group(**fields)
    except ValidationError as error:
        raise ConfigurationError(where + describe_error(error, value=value)) from error


def describe_error(error: ValidationError, value: object = None) -> str:
    """Describe the first invalid setting: its name, the reason, and the value unless it is secret.

    Args:
        error: Validation error of one group.
        value: The given value, if it does not come from the environment.
    """
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    setting = next(
        (
            candidate
            for candidate in list_settings().values()
            if candidate.group.__name__ == error.title and candidate.field == field
        ),
        None,
    )
    name = setting.variable if setting else f"{ENVIRONMENT_PREFIX}{field}".upper()
    if value is not None and setting is not None:
        name = setting.name
    got = first.get("input") if value is None else value
    rejected = "" if setting is not None and setting.secret else f", not {got!r}"
    text = str(first["msg"]).removeprefix("Value error, ").split(", unable")[0]
    return f"{name}: {text[:1].lower()}{text[1:]}{rejected}"


def list_values(settings: Settings) -> list[SettingValue]:
    """List value and origin of all settings.

    Args:
        settings: Result of `load_settings`.
    """
    in_file = read_file(settings.services.home)
    values: list[SettingValue] = []
    for setting in list_settings().values():
        origin: Origin = "default"
        if setting.variable in {name.upper() for name in os.environ}:
            origin = "environment"
        elif setting.name in in_file:
            origin = "file"
        value = getattr(getattr(settings, setting.slot), setting.field)
        values.append(SettingValue(setting, value, origin))
    return values


def set_value(home: Path, setting: Setting, text: str) -> object:
    """Write a value into the home's file; other lines and comments are kept.

    Returns:
        The parsed value.

    Raises:
        ConfigurationError: The value cannot be used, or the file cannot be changed line by line.
    """
    value = convert_value(setting, text).model_dump(mode="json")[setting.field]
    _write_lines(home, setting, f"{setting.name} = {_format_toml(value)}", value)
    return value


def unset_value(home: Path, setting: Setting) -> bool:
    """Remove a setting from the home's file.

    Returns:
        Whether the file contained it.

    Raises:
        ConfigurationError: The file cannot be read, or cannot be changed line by line.
    """
    if setting.name not in read_file(home):
        return False
    _write_lines(home, setting, None, None)
    return True


def _write_lines(home: Path, setting: Setting, line: str | None, value: object) -> None:
    path = settings_path(home)
    expected = read_file(home)
    expected.pop(setting.name, None)
    if line is not None:
        expected[setting.name] = value
    lines = (
        path.read_text(encoding="utf-8").splitlines() if path.exists() else [_FILE_HEADER.rstrip()]
    )
    same = re.compile(rf'\s*"?(?:PINPOINT_)?{re.escape(setting.name)}"?\s*=', re.IGNORECASE)
    new_lines = [line for line in lines if not same.match(line)]
    at = next((number for number, one in enumerate(lines) if same.match(one)), len(new_lines))
    if line is not None:
        new_lines.insert(at, line)
    text = "\n".join(new_lines) + "\n"
    try:
        written = {find_setting(name).name: one for name, one in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError:
        written = {}
    if written != expected:
        raise ConfigurationError(
            f"{path} is not written one setting a line, so that {setting.name} cannot be changed "
            "by a command; edit the file"
        )
    _replace_file(path, text)


def _replace_file(path: Path, text: str) -> None:
    """Write the file atomically, readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, text, durable=True, mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _format_toml(value: object) -> str:
    """Format a JSON value as TOML, which differs only in the character DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def mask_value(setting: Setting, value: object) -> object:
    """Value for output: secrets are replaced, None stays None."""
    return HIDDEN if setting.secret and value is not None else value


def list_unknown_variables(names: Iterable[str]) -> list[str]:
    """Names that start with the prefix but are not settings."""
    variables = {setting.variable for setting in list_settings().values()}
    return sorted(
        name
        for name in names
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in variables
        and not name.startswith(f"{ENVIRONMENT_PREFIX}TEST_")
    )
