"""`pinpoint config`: the settings file of the home, and the origin of each value."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pinpoint import settings_file
from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, Session
from pinpoint.settings import ServiceSettings
from pinpoint.settings_file import load_settings

app = typer.Typer(
    help="Show and change settings. The environment overrides the settings file, which overrides "
    "the defaults.",
    no_args_is_help=True,
)

SettingArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the setting, such as `api_port` or `PINPOINT_API_PORT`; see `list`."
    ),
]
_NOT_SETTINGS = {"PINPOINT_HOME", "PINPOINT_SERVER", "PINPOINT_KEY", "PINPOINT_ORG"}


@app.command("list")
def list_settings(
    context: typer.Context,
    show_all: Annotated[
        bool, typer.Option("--all", help="Include settings that have their default.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the changed settings with the origin of each value; secrets are hidden."""
    session, settings = Session.of(context, as_json=as_json), load_settings()
    values = settings_file.list_values(settings)
    path = settings_file.settings_path(settings.services.home)
    if session.as_json:
        output.print_json({"file": str(path), "settings": [_as_dict(entry) for entry in values]})
        return
    selected = [entry for entry in values if show_all or entry.origin != "default"]
    if selected:
        rows = [
            (entry.setting.name, settings_file.mask_value(entry.setting, entry.value), entry.origin)
            for entry in selected
        ]
        output.print_table(None, ("setting", "value", "origin"), rows)
    else:
        output.print_line(
            "all settings have their defaults; `pinpoint config list --all` lists them"
        )
    output.print_line(f"file: {path}{'' if path.exists() else ' (does not exist yet)'}")
    for name in settings_file.list_unknown_variables(set(os.environ) - _NOT_SETTINGS):
        output.warn(f"pinpoint: {name} is set in the environment but is not a setting")


@app.command("get")
def get(context: typer.Context, name: SettingArgument, as_json: JsonOption = False) -> None:
    """Print the value of a setting, also of a secret; an empty line means that it is not set."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    values = settings_file.list_values(load_settings())
    entry = next(candidate for candidate in values if candidate.setting == setting)
    if session.as_json:
        output.print_json({**_as_dict(entry), "value": entry.value})
    else:
        output.print_line("" if entry.value is None else output.format_cell(entry.value))


@app.command("set")
def set_setting(
    context: typer.Context,
    name: SettingArgument,
    value: Annotated[str, typer.Argument(help="New value.")],
    as_json: JsonOption = False,
) -> None:
    """Write a setting to the settings file, which only its owner can read (mode 0600)."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    home = ServiceSettings().home
    parsed_value = settings_file.set_value(home, setting, value)
    display_value = settings_file.mask_value(setting, parsed_value)
    overridden = setting.variable in os.environ
    if session.as_json:
        output.print_json({"name": setting.name, "value": display_value, "overridden": overridden})
        return
    output.print_line(
        f"{setting.name} = {output.format_cell(display_value)}  "
        f"({settings_file.settings_path(home)})"
    )
    if overridden:
        output.warn(f"pinpoint: {setting.variable} in the environment overrides the file")
    output.warn("run `pinpoint up` to apply it to a running stack")


@app.command("unset")
def unset(context: typer.Context, name: SettingArgument, as_json: JsonOption = False) -> None:
    """Remove a setting from the settings file, which restores its default."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    home = ServiceSettings().home
    removed = settings_file.unset_value(home, setting)
    if session.as_json:
        output.print_json({"name": setting.name, "removed": removed})
    elif removed:
        output.print_line(f"{setting.name} was removed from {settings_file.settings_path(home)}")
    else:
        output.print_line(f"{setting.name} is not in {settings_file.settings_path(home)}")


@app.command("path")
def show_path(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the path of the settings file, also if the file does not exist."""
    session, path = (
        Session.of(context, as_json=as_json),
        settings_file.settings_path(ServiceSettings().home),
    )
    if session.as_json:
        output.print_json({"file": str(path), "exists": path.exists()})
    else:
        output.print_line(str(path))


def _as_dict(entry: settings_file.SettingValue) -> dict[str, object]:
    return {
        "name": entry.setting.name,
        "variable": entry.setting.variable,
        "value": settings_file.mask_value(entry.setting, entry.value),
        "from": entry.origin,
    }
