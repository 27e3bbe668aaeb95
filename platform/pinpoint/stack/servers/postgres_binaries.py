"""Finds PostgreSQL's programs and the user that must run them, and checks their version."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from pinpoint.errors import StackError

_SYSTEM_USER: Final = "postgres"
_DEBIAN_ROOT: Final = Path("/usr/lib/postgresql")
_DEBIAN_SHARE: Final = Path("/usr/share/postgresql")


def find_binaries(pgdata: Path | None = None) -> Path:
    """Folder with `initdb` and `postgres`.

    Debian installs several versions in parallel. The version that created `pgdata` is used; without
    data, the newest version with PostGIS. Without Debian's folders, the programs on PATH are used.

    Raises:
        StackError: There is none, or none that can read `pgdata`.
    """
    data_version = _read_data_version(pgdata) if pgdata is not None else None
    folders = {
        int(path.parts[-3]): path.parent
        for path in _DEBIAN_ROOT.glob("*/bin/initdb")
        if path.parts[-3].isdigit() and (path.parent / "postgres").exists()
    }
    on_path = shutil.which("initdb")
    if not folders and on_path is not None:
        folder = Path(on_path).resolve().parent
        folders = {_read_program_version(folder): folder}
    if not folders:
        raise StackError(
            "PostgreSQL is not installed (no initdb below /usr/lib/postgresql or on PATH); "
            "install postgresql and postgresql-NN-postgis-3, or set PINPOINT_DATABASE_URL"
        )
    if data_version is None:
        return folders[max(folders, key=lambda version: (_has_postgis(version), version))]
    if data_version not in folders:
        raise StackError(
            f"{pgdata} was created by PostgreSQL {data_version}, but only "
            f"{sorted(folders)} is installed; install "
            f"PostgreSQL {data_version} with PostGIS again, or move the data by pg_dump"
        )
    return folders[data_version]


def _read_data_version(pgdata: Path) -> int | None:
    try:
        return int((pgdata / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def _read_program_version(folder: Path) -> int:
    command = [str(folder / "postgres"), "--version"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"\b(\d+)", out)
    if match is None:
        raise StackError(f"{folder / 'postgres'} does not print its version: {out!r}")
    return int(match.group(1))


def _has_postgis(version: int) -> bool:
    return (_DEBIAN_SHARE / str(version) / "extension" / "postgis.control").exists()


def server_account() -> pwd.struct_passwd | None:
    """Account that must run PostgreSQL: `postgres` if we are root, else None for ours."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise StackError(
            "as root PostgreSQL runs as user `postgres`, which does not exist; install postgresql"
        ) from None
