"""Search for the home: the current folder, then the folders above it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinpoint import homes
from pinpoint.errors import ConfigurationError
from pinpoint.settings import ServiceSettings


def make_home(folder):
    folder.mkdir(parents=True)
    (folder / "stack.json").write_text("{}")
    return folder


def test_find_home_in_subfolder_returns_the_home_above(tmp_path):
    home = make_home(tmp_path / ".pinpoint")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert homes.find_home(below) == homes.find_home(tmp_path) == home


def test_find_home_with_two_homes_returns_the_nearest(tmp_path):
    make_home(tmp_path / ".pinpoint")
    nearest = make_home(tmp_path / "a" / ".pinpoint")
    (tmp_path / "a" / "b").mkdir()
    assert homes.find_home(tmp_path / "a" / "b") == nearest


def test_find_home_without_home_returns_the_current_folder(tmp_path):
    (tmp_path / ".pinpoint").mkdir()  # empty: not a home
    below = tmp_path / "a"
    below.mkdir()
    assert homes.find_home(below) == below / ".pinpoint"


def test_find_home_skips_folders_of_other_users(tmp_path, monkeypatch):
    home = make_home(tmp_path / ".pinpoint")
    below = tmp_path / "a"
    below.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    assert homes.find_home(below) == below / ".pinpoint"
    assert homes.list_foreign_homes(below) == [home]


def test_service_settings_prefer_pinpoint_home_over_the_search(tmp_path, monkeypatch):
    home = make_home(tmp_path / ".pinpoint")
    below = tmp_path / "a"
    below.mkdir()
    monkeypatch.chdir(below)
    assert ServiceSettings().home == home
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "named"))
    assert ServiceSettings().home == tmp_path / "named"
    assert ServiceSettings(home=Path("given")).home == below / "given"


def test_service_settings_in_removed_folder_raises(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="no longer exists"):
        ServiceSettings()


def test_demo_home_is_next_to_the_home_and_different(tmp_path):
    home = tmp_path / ".pinpoint"
    assert homes.demo_home(home) == tmp_path / ".pinpoint-demo"
    assert homes.demo_home(homes.demo_home(home)) == tmp_path / ".pinpoint-demo"
    make_home(tmp_path / ".pinpoint-demo")
    assert homes.find_home(tmp_path) == home
