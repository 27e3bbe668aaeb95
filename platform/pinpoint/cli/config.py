"""`pinpoint config`: the settings file of the home, and where each value comes from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pinpoint import settings_file
from pinpoint.cli import output
from pinpoint.cli.session import Json, Session
from pinpoint.settings import Places, Settings

app = typer.Typer(
    help="Settings: the environment goes before the home's file, the file before the defaults.",
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(help="`api_port`, or as a variable: `PINPOINT_API_PORT`; see `list`.")
]
_NOT_SETTINGS = {"PINPOINT_HOME", "PINPOINT_SERVER", "PINPOINT_KEY", "PINPOINT_ORG"}


@app.command("list")
def list_settings(
    context: typer.Context,
    include_defaults: Annotated[
        bool, typer.Option("--all", help="Also those at their defaults.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the settings that are set, with the place each value comes from; secrets are hidden."""
    session, settings = Session.of(context, as_json=as_json), Settings.from_environment()
    values = settings_file.list_values(settings)
    path = settings_file.settings_path(settings.places.home)
    if session.as_json:
        output.show_json({"file": str(path), "settings": [_as_dict(entry) for entry in values]})
        return
    selected = [entry for entry in values if include_defaults or entry.origin != "default"]
    if selected:
        rows = [
            (entry.setting.name, settings_file.show_value(entry.setting, entry.value), entry.origin)
            for entry in selected
        ]
        output.table(None, ("setting", "value", "from"), rows)
    else:
        output.say("every setting has its default; `pinpoint config list --all` shows them")
    output.say(f"file: {path}{'' if path.exists() else ' (not there yet)'}")
    for name in settings_file.unknown_variables(set(os.environ) - _NOT_SETTINGS):
        output.note(f"pinpoint: {name} is in the environment and is not a setting")


@app.command("get")
def get(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Print the value of one setting, also a secret one; an empty line where it is not set."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    values = settings_file.list_values(Settings.from_environment())
    entry = next(candidate for candidate in values if candidate.setting == setting)
    if session.as_json:
        output.show_json({**_as_dict(entry), "value": entry.value})
    else:
        output.say("" if entry.value is None else output.cell(entry.value))


@app.command("set")
def set_one(
    context: typer.Context,
    name: Name,
    value: Annotated[str, typer.Argument(help="The new value.")],
    as_json: Json = False,
) -> None:
    """Write a setting into the home's file (mode 0600)."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    home = Places().home
    parsed_value = settings_file.set_value(home, setting, value)
    display_value = settings_file.show_value(setting, parsed_value)
    overridden = setting.variable in os.environ
    if session.as_json:
        output.show_json({"name": setting.name, "value": display_value, "overridden": overridden})
        return
    output.say(
        f"{setting.name} = {output.cell(display_value)}  ({settings_file.settings_path(home)})"
    )
    if overridden:
        output.note(f"pinpoint: {setting.variable} in the environment goes before the file")
    output.note("`pinpoint up` brings it to a stack that runs")


@app.command("unset")
def unset(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Take a setting out of the home's file, so that its default holds again."""
    session, setting = Session.of(context, as_json=as_json), settings_file.find_setting(name)
    home = Places().home
    removed = settings_file.unset_value(home, setting)
    if session.as_json:
        output.show_json({"name": setting.name, "removed": removed})
    elif removed:
        output.say(f"{setting.name} was taken out of {settings_file.settings_path(home)}")
    else:
        output.say(f"{setting.name} is not in {settings_file.settings_path(home)}")


@app.command("path")
def show_path(context: typer.Context, as_json: Json = False) -> None:
    """Print where the settings file is, or would be."""
    session, path = Session.of(context, as_json=as_json), settings_file.settings_path(Places().home)
    if session.as_json:
        output.show_json({"file": str(path), "exists": path.exists()})
    else:
        output.say(str(path))


def _as_dict(entry: settings_file.SettingValue) -> dict[str, object]:
    return {
        "name": entry.setting.name,
        "variable": entry.setting.variable,
        "value": settings_file.show_value(entry.setting, entry.value),
        "from": entry.origin,
    }
