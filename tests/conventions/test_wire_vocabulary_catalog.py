"""Words of the database, the error codes and the catalog routes: one standard term per concept.

The lists hold the terms that an earlier version used. A new use of one of them is a second name for
a concept that has a name already (`docs/reference/glossary.md`).
"""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from sqlalchemy import text

from pinpoint.api.app import create_app
from pinpoint.api.metrics import METRICS
from pinpoint.api.status_collector import WORKER_CODES
from pinpoint.media.checks import REASONS, STAGES
from pinpoint.records import BatchItem, ClaimedItem, Image, NewItem, Rejected
from pinpoint.store.db.database import owner_engine
from pinpoint.store.db.schema import metadata
from pinpoint.store.db.tables import batch_items, images

OLD_TABLES = {"queries", "upkeep", "neighbourhoods"}
OLD_COLUMNS = {
    *("arrival", "seq", "place", "locator", "face", "hint", "changed_xid", "done"),
    *("failure", "outcome", "stage", "reason", "detail", "verdict", "settled_at"),
    *("asked", "asked_at", "fixed", "root"),
}
OLD_CODES = {
    *("half_position", "changed_meanwhile", "changed_since", "deleted_meanwhile", "bad_hint"),
}
OLD_KEYS = {
    "ItemOut": {"seq", "place", "state", "stage", "reason", "detail", "verdict", "outcome"},
    "ImageOut": {"kind", "face", "locator", "failure", "arrival"},
    "BatchOut": {"complete", "settled", "reasons", "verdicts"},
    "UploadForm": {"hints"},
}
CATALOG_ROUTES = re.compile(r"^/v1/(sources|batches|images)\b")


@pytest.fixture(scope="module")
def document():
    return create_app().openapi()


def test_database_schema_after_migrations_has_no_old_name(database_url):
    engine = owner_engine(database_url)
    with engine.connect() as connection:
        columns = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema IN ('pinpoint', 'tenant')"
            )
        ).all()
        routines = connection.execute(
            text(
                "SELECT p.proname, p.prosrc FROM pg_proc p"
                " WHERE p.pronamespace IN ('pinpoint'::regnamespace, 'tenant'::regnamespace)"
            )
        ).all()
    engine.dispose()
    assert len(columns) > 100
    assert {table for table, _ in columns} & OLD_TABLES == set()
    assert [f"{table}.{name}" for table, name in columns if name in OLD_COLUMNS] == []
    words = {name: set(re.findall(r"\w+", f"{name} {source}")) for name, source in routines}
    old_words = {*OLD_TABLES, "changed_xid", "settled_at", "grave", "check_grave", "refused"}
    assert {name: found & old_words for name, found in words.items() if found & old_words} == {}


def test_order_columns_of_tables_and_records_have_one_name_per_concept():
    assert {"ingest_seq", "position"} <= set(batch_items.c.keys())
    assert "ingest_seq" in images.c
    assert "ingest_seq" in {field.name for field in fields(ClaimedItem)}
    assert "position" in {field.name for field in fields(BatchItem)}
    owners = [table.name for table in metadata.tables.values() if "ingest_seq" in table.c]
    assert sorted(owners) == ["batch_items", "images"]


@pytest.mark.parametrize("record", [BatchItem, ClaimedItem, Image, NewItem, Rejected])
def test_records_of_catalog_rows_have_no_old_field(record):
    assert {field.name for field in fields(record)} & OLD_COLUMNS == set()


def test_error_fields_have_the_same_names_in_table_and_records():
    names = {"error_stage", "error_code", "error_message"}
    assert names <= set(batch_items.c.keys())
    for record in (BatchItem, Rejected):
        assert names <= {field.name for field in fields(record)}, record


def test_error_codes_contain_no_old_code():
    assert {*REASONS, *STAGES, *WORKER_CODES} & OLD_CODES == set()
    for code in (*REASONS, *WORKER_CODES):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code), code
        assert "meanwhile" not in code, code


@pytest.mark.parametrize("schema", sorted(OLD_KEYS))
def test_openapi_schema_of_catalog_rows_has_no_old_key(document, schema):
    schemas = document["components"]["schemas"]
    if schema == "UploadForm":
        body = document["paths"]["/v1/batches/{batch_id}/images"]["post"]["requestBody"]
        keys = set(body["content"]["multipart/form-data"]["schema"]["properties"])
    else:
        keys = set(schemas[schema]["properties"])
    assert keys, schema
    assert keys & OLD_KEYS[schema] == set()


def test_openapi_catalog_operations_have_no_old_name(document):
    paths = {
        path: methods for path, methods in document["paths"].items() if CATALOG_ROUTES.match(path)
    }
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = {operation["operationId"] for operation in operations}
    assert {"close_batch", "update_image"} <= names
    assert names & {"complete_batch", "fix_image"} == set()
    assert [path for path in paths if path.endswith("/complete")] == []
    parameters = {
        (path, parameter["name"])
        for path, methods in paths.items()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
    }
    assert ("/v1/batches/{batch_id}/items", "status") in parameters
    assert {name for _, name in parameters} & {"kinds", "hints", "seq"} == set()


def test_metric_labels_have_no_old_word():
    labels = {word for metric in METRICS for word in re.findall(r"`(\w+)`", metric.labels)}
    assert {"status", "error_code", "result", "component"} <= labels
    assert labels & {"verdict", "reason", "point", "part"} == set()
