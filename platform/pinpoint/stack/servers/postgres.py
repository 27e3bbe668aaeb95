"""A private PostgreSQL with PostGIS: one data directory, one Unix socket, no TCP.

As root it runs as the system user `postgres`, because PostgreSQL refuses to run as root. A user
that can enter the socket's 0700 folder is trusted; no other user can connect.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql

from pinpoint.errors import StackError
from pinpoint.parent_death import prepare_death_signal
from pinpoint.stack.paths import (
    API_ROLE,
    DATABASE,
    OWNER_ROLE,
    POSTGRES_PORT,
    SUPERUSER,
    StackPaths,
    create_private_folder,
)
from pinpoint.stack.servers.postgres_binaries import find_binaries, server_account
from pinpoint.stack.supervisor.processes import stop_child
from pinpoint.store.db.views import READER_ROLE

STOP_S: Final = 30
"""Longest fast shutdown before the server is killed, seconds."""
_CONFIG: Final[Mapping[str, str]] = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    # Statements are short; compiling them costs more than it saves.
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_destination": "'stderr'",
    "logging_collector": "off",
}


class PostgresServer:
    """The private server of one home.

    Args:
        paths: Paths of the stack.
        config: Additional configuration values, e.g. `{"fsync": "off"}` in tests.
    """

    def __init__(self, paths: StackPaths, config: Mapping[str, str] | None = None) -> None:
        self._paths = paths
        self._extra_config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._account = server_account()

    @property
    def user(self) -> str | None:
        """System user that must run the server; None for the current user."""
        return None if self._account is None else self._account.pw_name

    @property
    def command(self) -> list[str]:
        """Command line of the server in the foreground."""
        conf = self._paths.cluster_dir / "postgresql.conf"
        data = self._paths.pgdata
        return [str(find_binaries(data) / "postgres"), "-D", str(data), "-c", f"config_file={conf}"]

    def initialize(self) -> None:
        """Create the cluster if it does not exist, and write its configuration; safe to repeat.

        Raises:
            StackError: It cannot be created, or belongs to another home or version.
        """
        paths = self._paths
        uid, gid = (None, None)
        if self._account is not None:
            uid, gid = self._account.pw_uid, self._account.pw_gid
        find_binaries(paths.pgdata)  # raises before anything is written
        create_private_folder(paths.postgres_socket_dir, uid, gid)
        self._bind_cluster_to_home()
        if not (paths.pgdata / "PG_VERSION").exists():
            self._run_initdb(uid, gid)
        self._write_config()

    def _bind_cluster_to_home(self) -> None:
        """Create the cluster's folder and record cluster and home in each other."""
        cluster, home = self._paths.cluster_dir, self._paths.home.resolve()
        # The server's user must be able to enter the folder, but not to write into it.
        cluster.mkdir(mode=0o755, parents=True, exist_ok=True)
        owner = cluster / "home"
        if owner.exists():
            other = Path(owner.read_text(encoding="utf-8"))
            if other != home and other.exists():
                raise StackError(
                    f"{cluster} belongs to {other}; {home} is a copy of it: "
                    f"remove {self._paths.cluster_record} to start with an empty database"
                )
        owner.write_text(str(home), encoding="utf-8")
        self._paths.cluster_record.write_text(str(cluster), encoding="utf-8")

    def _run_initdb(self, uid: int | None, gid: int | None) -> None:
        data = self._paths.pgdata
        if data.exists():  # left by a killed initdb; it never contained data
            shutil.rmtree(data)
        create_private_folder(data, uid, gid)
        command = [
            str(find_binaries() / "initdb"),
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=trust",
            "--no-instructions",
        ]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, **self._popen_options()
        )
        if result.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise StackError(f"initdb failed in {data}: {result.stderr.strip()[-500:]}")

    def _write_config(self) -> None:
        cluster = self._paths.cluster_dir
        hba = cluster / "pg_hba.conf"
        hba.write_text("local all all trust\n", encoding="utf-8")
        values = {
            **_CONFIG,
            "hba_file": f"'{hba}'",
            "unix_socket_directories": f"'{self._paths.postgres_socket_dir}'",
            "port": str(POSTGRES_PORT),
            **self._extra_config,
        }
        lines = ["# Written by `pinpoint up`; put your own lines into local.conf in this folder."]
        lines += [f"{name} = {value}" for name, value in values.items()]
        lines.append(f"include_if_exists = '{cluster / 'local.conf'}'")
        (cluster / "postgresql.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def clear_stale_locks(self) -> None:
        """Remove lock files whose process has ended or is not this server.

        PostgreSQL refuses to start if the recorded process id belongs to any live process.
        """
        socket = self._paths.postgres_socket_dir / f".s.PGSQL.{POSTGRES_PORT}"
        if self.postmaster() is not None:
            return
        for path in (self._paths.pgdata / "postmaster.pid", Path(f"{socket}.lock"), socket):
            path.unlink(missing_ok=True)

    def postmaster(self) -> psutil.Process | None:
        """The live server process of this data directory, according to its pid file."""
        try:
            text = (self._paths.pgdata / "postmaster.pid").read_text(encoding="ascii")
            process = psutil.Process(int(text.split("\n", 1)[0]))
            if process.name() == "postgres" and Path(process.cwd()) == self._paths.pgdata.resolve():
                return process
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return None

    def start(self, timeout_s: float = 30.0) -> None:
        """Start the server as a child that ends with this process, and wait until it is ready.

        Raises:
            StackError: It ended or did not answer in time; the message names its log.
        """
        self.initialize()
        self.clear_stale_locks()
        log = self._paths.logs_dir / "postgres.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=prepare_death_signal(signal.SIGINT),
                **self._popen_options(),
            )
        until = time.monotonic() + timeout_s
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise StackError(f"PostgreSQL did not start; see {log}")
            time.sleep(0.05)

    def stop(self, grace_s: float = 15.0) -> None:
        """End the child process of `start`, by force after `grace_s` seconds."""
        if self._process is not None:
            # With QUIT the postmaster ends its backends; with KILL they would keep running.
            stop_child(self._process, grace_s, stop=signal.SIGINT, force=signal.SIGQUIT)
            self._process = None

    def ready(self) -> bool:
        """Whether the server accepts connections."""
        try:
            self._connect_superuser().close()
        except psycopg.OperationalError:
            return False
        return True

    def prepare(self, database: str = DATABASE) -> None:
        """Create missing roles, database and extension.

        Raises:
            StackError: PostGIS is not installed for this version.
        """
        with self._connect_superuser() as admin:
            for role, login in ((OWNER_ROLE, True), (API_ROLE, True), (READER_ROLE, False)):
                existing = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
                if existing.fetchone() is None:
                    create = sql.SQL("CREATE ROLE {} LOGIN" if login else "CREATE ROLE {} NOLOGIN")
                    admin.execute(create.format(sql.Identifier(role)))
            for role, member in ((API_ROLE, OWNER_ROLE), (READER_ROLE, API_ROLE)):
                grant = sql.SQL("GRANT {} TO {}")
                admin.execute(grant.format(sql.Identifier(role), sql.Identifier(member)))
            existing = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            if existing.fetchone() is None:
                make = sql.SQL("CREATE DATABASE {} OWNER {}")
                admin.execute(make.format(sql.Identifier(database), sql.Identifier(OWNER_ROLE)))
        with self._connect_superuser(database) as admin:
            try:
                admin.execute("CREATE EXTENSION IF NOT EXISTS postgis")
            except psycopg.Error as error:
                raise StackError(
                    "PostGIS is missing; install postgresql-NN-postgis-3 for this PostgreSQL"
                ) from error

    def clone(self, template: str, database: str) -> None:
        """Create `database` as a copy of `template`, which must have no connections."""
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        names = [sql.Identifier(name) for name in (database, template, OWNER_ROLE)]
        with self._connect_superuser() as admin:
            admin.execute(make.format(*names))

    def drop(self, database: str) -> None:
        """Drop a database and close its connections."""
        with self._connect_superuser() as admin:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            admin.execute(drop.format(sql.Identifier(database)))

    def erase(self) -> None:
        """Remove the files of the stopped cluster, also those outside the home."""
        if self.postmaster() is not None:
            raise StackError(f"PostgreSQL still runs in {self._paths.pgdata}")
        shutil.rmtree(self._paths.cluster_dir, ignore_errors=True)
        shutil.rmtree(self._paths.postgres_socket_dir, ignore_errors=True)

    def _connect_superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self._paths.superuser_dsn(database), autocommit=True, connect_timeout=5
        )

    def _popen_options(self) -> dict[str, Any]:
        if self._account is None:
            return {"cwd": "/"}
        # That user may not be able to enter the caller's folder, so the working folder is the root.
        return {
            "cwd": "/",
            "user": self._account.pw_uid,
            "group": self._account.pw_gid,
            "extra_groups": [],
        }
