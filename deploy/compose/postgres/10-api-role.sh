#!/bin/bash
# Runs once, when the database is created. The migration keeps a role that exists; only this step
# knows its password.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$API_POSTGRES_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE pinpoint_api LOGIN PASSWORD :'password';
SQL
