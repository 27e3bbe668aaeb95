"""The private servers: network access, cloned databases, stored data."""

from __future__ import annotations

import psycopg
import pytest
import redis

from pinpoint.store.db.database import head_revision


def _dsn(url: str) -> str:
    return url.replace("+psycopg", "")


def test_cloned_test_database_is_migrated_and_separate(database_url, api_database_url):
    with psycopg.connect(_dsn(database_url)) as owner:
        assert owner.execute("SELECT current_user").fetchone() == ("pinpoint",)
        assert owner.execute("SELECT version_num FROM pinpoint.alembic_version").fetchone() == (
            head_revision(),
        )
        assert owner.execute("SELECT count(*) FROM pinpoint.images").fetchone() == (0,)
    with psycopg.connect(_dsn(api_database_url)) as api:
        assert api.execute("SELECT current_user").fetchone() == ("pinpoint_api",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("SELECT count(*) FROM pinpoint.images")


def test_postgres_listens_on_no_network_address(database_url):
    with psycopg.connect(_dsn(database_url)) as owner:
        assert owner.execute("SHOW listen_addresses").fetchone() == ("",)
        assert owner.execute("SHOW jit").fetchone() == ("off",)


def test_redis_after_restart_keeps_data_and_listens_on_no_network_address(redis_url):
    path = redis_url.removeprefix("redis+socket://")
    with redis.Redis(unix_socket_path=path) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("port") == {"port": "0"}
