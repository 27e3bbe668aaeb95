"""Paths and addresses of one embedded stack, derived from `PINPOINT_HOME` alone.

All entry points with the same home use the same sockets, whichever started the stack. PostgreSQL
refuses to run as root. For root its folder is therefore outside the home, below a folder that the
user `postgres` can enter; the home records the path.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pinpoint.errors import StackError

OWNER_ROLE: Final = "pinpoint"
API_ROLE: Final = "pinpoint_api"
SUPERUSER: Final = "postgres"
DATABASE: Final = "pinpoint"
POSTGRES_PORT: Final = 5432
"""Only a part of the socket's name; PostgreSQL does not listen on TCP."""

_ROOT_CLUSTER_DIR: Final = Path("/var/lib/pinpoint")
_MAX_SOCKET_PATH_BYTES: Final = 107
_UNSAFE_CHARACTERS: Final = frozenset("\n\r\t;#\"'\\")


@dataclass(frozen=True, slots=True)
class StackPaths:
    """Paths and addresses of the stack of one home.

    Args:
        home: Folder of the embedded stack; it need not exist yet.
    """

    home: Path

    @property
    def digest(self) -> str:
        """Hash of the home's path, twelve hex digits, for short paths."""
        return hashlib.sha256(os.fsencode(self.home.resolve())).hexdigest()[:12]

    @property
    def cluster_dir(self) -> Path:
        """Folder of PostgreSQL's configuration and data."""
        if os.geteuid() != 0:
            return self.home / "postgres"
        try:
            return Path(self.cluster_record.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return _ROOT_CLUSTER_DIR / self.digest

    @property
    def cluster_record(self) -> Path:
        """File in the home that contains the path of PostgreSQL's folder."""
        return self.home / "postgres.path"

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's data directory."""
        return self.cluster_dir / "data"

    @property
    def socket_dir(self) -> Path:
        """Folder (0700) of all sockets except PostgreSQL's.

        It is not below `/run/user`, which is deleted at logout while the stack keeps running.
        """
        if os.geteuid() == 0 and os.access("/run", os.W_OK):
            return Path("/run") / f"pinpoint-{self.digest}"
        return Path("/tmp") / f"pinpoint-{os.geteuid()}-{self.digest}"

    @property
    def postgres_socket_dir(self) -> Path:
        """Folder (0700) of PostgreSQL's socket, owned by the user that runs PostgreSQL."""
        return self.socket_dir.with_name(self.socket_dir.name + "-pg")

    @property
    def redis_socket(self) -> Path:
        """Redis' Unix socket."""
        return self.socket_dir / "redis.sock"

    @property
    def redis_dir(self) -> Path:
        """Folder of Redis' append-only file and configuration."""
        return self.home / "redis"

    @property
    def index_socket(self) -> Path:
        """Unix socket of the process that owns the index."""
        return self.socket_dir / "index.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Unix socket of supervisord."""
        return self.socket_dir / "supervisor.sock"

    @property
    def index_dir(self) -> Path:
        """Folder of the embedded vector index."""
        return self.home / "index"

    @property
    def blobs_dir(self) -> Path:
        """Folder of the embedded blob store."""
        return self.home / "blobs"

    @property
    def verification_dir(self) -> Path:
        """Folder of the verification thresholds, one file for each organization."""
        return self.home / "verification"

    @property
    def features_dir(self) -> Path:
        """Folder of the cache of local features."""
        return self.home / "features"

    @property
    def exports_dir(self) -> Path:
        """Folder of the temporary files of running exports."""
        return self.home / "exports"

    @property
    def downloads_dir(self) -> Path:
        """Folder of temporary copies of files at URLs."""
        return self.home / "downloads"

    @property
    def webhook_key_file(self) -> Path:
        """Key (0600) that encrypts the secrets of webhooks."""
        return self.home / "webhook.key"

    @property
    def bundles_dir(self) -> Path:
        """Folder of bundles; bundles are found by name."""
        return self.home / "bundles"

    @property
    def logs_dir(self) -> Path:
        """Folder with one log file per process of the stack."""
        return self.home / "logs"

    @property
    def state_file(self) -> Path:
        """Record of the ports, processes and settings of the last `up`."""
        return self.home / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Lock file that is held while the stack is started or stopped."""
        return self.home / "stack.lock"

    @property
    def operator_key_file(self) -> Path:
        """Secret (0600) by which commands on this machine authenticate to the API."""
        return self.home / "operator.key"

    @property
    def supervisor_config(self) -> Path:
        """Generated configuration of supervisord."""
        return self.home / "supervisord.conf"

    @property
    def supervisor_pidfile(self) -> Path:
        """File with the process id of supervisord."""
        return self.home / "supervisord.pid"

    @property
    def beat_schedule(self) -> Path:
        """File in which beat stores the last run of every task."""
        return self.home / "beat"

    @property
    def broker_url(self) -> str:
        """Celery broker in the embedded Redis."""
        return f"redis+socket://{self.redis_socket}"

    def owner_url(self, database: str = DATABASE) -> str:
        """SQLAlchemy URL of the owner's role."""
        return self._make_url(OWNER_ROLE, database)

    def api_url(self, database: str = DATABASE) -> str:
        """SQLAlchemy URL of the API's role, which has only the rights that migrations grant."""
        return self._make_url(API_ROLE, database)

    def superuser_dsn(self, database: str = "postgres") -> str:
        """Connection string (libpq) of the private cluster's superuser."""
        return (
            f"host={self.postgres_socket_dir} port={POSTGRES_PORT} "
            f"user={SUPERUSER} dbname={database}"
        )

    def superuser_url(self, database: str = DATABASE) -> str:
        """SQLAlchemy URL of the private cluster's superuser."""
        return self._make_url(SUPERUSER, database)

    def _make_url(self, role: str, database: str) -> str:
        host = quote(str(self.postgres_socket_dir), safe="/")
        # The explicit port overrides PGPORT in the environment.
        return f"postgresql+psycopg://{role}@/{database}?host={host}&port={POSTGRES_PORT}"

    def live_contract(self) -> str | None:
        """Contract digest of the embedded index, read from its files; None if unreadable."""
        try:
            name = (self.index_dir / "current").read_text(errors="replace").strip()
        except OSError:
            return None
        return read_build_contract(self.index_dir / "builds" / name)

    def owns_cluster(self) -> bool:
        """Whether the database's folder belongs to this home.

        A copied home references the folder of the original. If the home recorded in that folder no
        longer exists, it was moved, and the folder belongs to the home that references it.
        """
        cluster, home = self.cluster_dir, self.home.resolve()
        if not cluster.exists():
            return False
        if cluster.resolve().is_relative_to(home):
            return True
        try:
            owner = Path((cluster / "home").read_text(encoding="utf-8").strip())
        except OSError:
            return False
        return owner == home or not owner.exists()

    def create(self) -> None:
        """Create the home and the socket folder.

        Raises:
            StackError: The path cannot be used, or another user owns one of the folders.
        """
        unsafe = _UNSAFE_CHARACTERS.intersection(str(self.home))
        if unsafe:
            raise StackError(
                f"PINPOINT_HOME {str(self.home)!r} contains {sorted(unsafe)}; choose a plainer path"
            )
        longest = max(
            len(os.fsencode(path))
            for path in (self.supervisor_socket, self.postgres_socket_dir / ".s.PGSQL.5432")
        )
        if longest > _MAX_SOCKET_PATH_BYTES:
            raise StackError(f"socket paths below {self.socket_dir} are longer than 107 bytes")
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.redis_dir, self.blobs_dir, self.bundles_dir, self.logs_dir):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"cannot create {self.home}: {error.strerror}; "
                "set PINPOINT_HOME to a folder of yours"
            ) from error
        create_private_folder(self.socket_dir)


def read_build_contract(folder: Path) -> str | None:
    """Contract digest of a build of the index, also of one that cannot be opened."""
    build_info = read_build_info(folder)
    return (
        str(build_info["contract"]) if build_info is not None and "contract" in build_info else None
    )


def read_build_info(folder: Path) -> dict[str, Any] | None:
    """Metadata of a build of the index; None if it cannot be read."""
    try:
        build_info = json.loads((folder / "index.json").read_text(errors="replace"))
    except (OSError, ValueError):
        return None
    return build_info if isinstance(build_info, dict) else None


def create_private_folder(folder: Path, uid: int | None = None, gid: int | None = None) -> None:
    """Create a 0700 folder owned by `uid` (default: ours), or check an existing folder.

    Raises:
        StackError: The path is not a folder, or another user owns it.
    """
    owner = os.geteuid() if uid is None else uid
    try:
        os.mkdir(folder, 0o700)
        if uid is not None and uid != os.geteuid():
            os.chown(folder, uid, -1 if gid is None else gid)
    except FileExistsError:
        pass
    except OSError as error:
        raise StackError(f"cannot create {folder}: {error.strerror}") from error
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner, os.geteuid()):
        raise StackError(f"{folder} exists and is not a folder of user {owner}; remove it")
    if status.st_uid != owner:  # created by a run that ended before its chown
        os.chown(folder, owner, -1 if gid is None else gid)
    os.chmod(folder, 0o700)
