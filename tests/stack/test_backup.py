"""Backup, destroy, restore: same answers, same counts, no partial backup."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from conftest import dismiss, home_folder, watch_over
from pinpoint.cli.main import app
from pinpoint.errors import BadRequestError, ConflictError, StackError
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.backup import dumps
from pinpoint.stack.backup.backup import write_backup
from pinpoint.stack.backup.restore import check_backup, restore_backup
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.store.webhooks.secret_cipher import SecretCipher
from stack_fixtures import ServiceHarness, jpeg, write_photos


def quiet(_text: str) -> None:
    return None


@pytest.fixture
def filled(database_url, api_database_url, tmp_path):
    """An external database with images and blobs, of a home without other data."""
    harness = ServiceHarness(database_url, api_database_url, tmp_path / "home")
    org = harness.organization()
    write_photos(tmp_path / "in", 3)
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    harness.ingest(tmp_path / "in", org)
    yield harness
    harness.close()


@pytest.fixture
def settings(database_url, tmp_path):
    return Settings(
        services=ServiceSettings(
            home=tmp_path / "home",
            database_url=database_url,
            broker_url="redis+socket:///nowhere.sock",
            qdrant_url="http://127.0.0.1:9",
        )
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["out.tar", "out"])
def test_restore_into_external_database_keeps_rows_and_blobs(filled, settings, tmp_path, name):
    target = tmp_path / name
    thresholds = StackPaths(tmp_path / "home").verification_dir
    thresholds.mkdir()
    (thresholds / f"{filled.api_keys.organization('acme').id}.json").write_text("{}\n")
    stored_thresholds = files(thresholds)
    organization_id = filled.api_keys.organization("acme").id
    _, secret = filled.webhooks.store.add_webhook(organization_id, "https://hooks.test/", [])
    webhook_key = StackPaths(tmp_path / "home").webhook_key_file
    manifest = write_backup(settings, target, quiet)
    original = dumps.read_installation(settings.services.database_url)
    assert (manifest.counts["images"], manifest.blobs, manifest.bundle) == (3, 3, "descriptor")
    blobs = files(tmp_path / "home" / "blobs")
    with pytest.raises(ConflictError, match="already exists"):
        write_backup(settings, target, quiet)
    with pytest.raises(ConflictError, match="--replace"):
        restore_backup(settings, target, replace=False, on_message=quiet)
    with pytest.raises(ConflictError, match="connected"):
        restore_backup(settings, target, replace=True, on_message=quiet)

    shutil.rmtree(tmp_path / "home" / "blobs")
    shutil.rmtree(thresholds)
    webhook_key.write_bytes(b"key of another gallery")
    thresholds.mkdir()
    (thresholds / "00000000-0000-4000-8000-000000000000.json").write_text("of another gallery")
    filled.owner.close()
    filled.as_api.close()
    with dumps.open_connection(settings.services.database_url) as connection:
        connection.execute("DROP SCHEMA pinpoint CASCADE")
        connection.execute("DROP SCHEMA layers CASCADE")
        connection.execute("DROP SCHEMA tenant CASCADE")
    restored = restore_backup(settings, target, replace=False, on_message=quiet)
    assert restored.counts == manifest.counts
    # A copy on another machine is an installation of its own; restored again, it stays the same.
    copy = dumps.read_installation(settings.services.database_url)
    assert copy != original
    restore_backup(settings, target, replace=True, on_message=quiet)
    assert dumps.read_installation(settings.services.database_url) == copy
    assert files(tmp_path / "home" / "blobs") == blobs
    assert files(thresholds) == stored_thresholds
    assert webhook_key.stat().st_mode & 0o777 == 0o600
    encrypted = filled.scalar("SELECT secret FROM webhooks")
    assert SecretCipher(webhook_key).decrypt(bytes(encrypted)) == secret
    filled.as_api.check()
    with filled.database.read(filled.api_keys.organization("acme").id) as catalog:
        assert [source.images for source in catalog.sources()] == [3]
    # Triggers, row isolation and modification marks are restored.
    with pytest.raises(Exception, match="permission denied"), filled.as_api.begin() as unit:
        unit.connection.exec_driver_sql("SELECT * FROM pinpoint.images")
    assert filled.scalar("SELECT max(modified_xid) FROM images") < filled.scalar(
        "SELECT pg_current_xact_id()::text::bigint"
    )


def test_check_backup_with_damaged_or_foreign_archive_raises_and_changes_nothing(
    filled, settings, tmp_path
):
    target, paths = tmp_path / "out", StackPaths(settings.services.home)
    write_backup(settings, target, quiet)

    def refused(kind, match):
        from pinpoint.stack.backup.archive import ArchiveReader

        with pytest.raises(kind, match=match):
            check_backup(settings, paths, ArchiveReader(target), quiet)

    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"revision": "9999"}))
    refused(StackError, "revision 9999")
    (target / "manifest.json").write_text(json.dumps(manifest | {"contract": "0" * 64}))
    refused(Exception, "PINPOINT_BUNDLE")
    (target / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    refused(BadRequestError, "format 2")
    (target / "manifest.json").write_text(json.dumps(manifest))
    sums = (target / "SHA256SUMS").read_text()
    (target / "SHA256SUMS").write_text(sums.replace("blobs/", "../"))
    refused(BadRequestError, "SHA256SUMS")
    (target / "SHA256SUMS").write_text(sums)
    blob = next((target / "blobs").rglob("*/*/*"))
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + b"x")
    refused(BadRequestError, "damaged")
    blob.unlink()
    refused(BadRequestError, "cannot be read")
    blob.symlink_to("/etc/hostname")
    refused(BadRequestError, "not a regular file")
    assert filled.scalar("SELECT count(*) FROM images") == 3


def test_restore_of_archive_with_link_is_rejected(settings, tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BadRequestError, match="cannot be in one"):
        restore_backup(settings, tmp_path / "bad.tar", replace=True, on_message=quiet)
    (tmp_path / "cut.tar").write_bytes(b"nothing")
    with pytest.raises(BadRequestError):
        restore_backup(settings, tmp_path / "cut.tar", replace=True, on_message=quiet)


def test_backup_that_fails_leaves_no_file(filled, settings, tmp_path, monkeypatch):
    def full(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinpoint.stack.backup.backup._add_blobs", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StackError, match="no space left"):
        write_backup(settings, tmp_path / "out.tar", quiet)
    assert sorted(tmp_path.iterdir()) == before


def test_restore_of_damaged_dump_keeps_the_database(filled, settings, tmp_path):
    target, url = tmp_path / "out", settings.services.database_url
    write_backup(settings, target, quiet)
    dumped = target / "database.dump"
    dumped.write_bytes(dumped.read_bytes()[:-2_000])
    with pytest.raises(StackError, match="unchanged"):
        dumps.replace_database(url, dumped, None)
    assert filled.scalar("SELECT count(*) FROM images") == 3


def strip_volatile(answer: dict) -> dict:
    """An answer without timings and the name of the index build."""
    return {key: value for key, value in answer.items() if key not in ("timings_ms", "index")}


def operator_of(paths: StackPaths, api_url: str) -> httpx.Client:
    """A client of the API with the operator key."""
    key = paths.operator_key_file.read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=api_url, headers=headers, timeout=60)


def ask(paths: StackPaths, api_url: str, photos: list[bytes]) -> list[dict]:
    with operator_of(paths, api_url) as client:
        answers = []
        for photo in photos:
            response = client.post("/v1/locate", files={"photo": ("q.jpg", photo, "image/jpeg")})
            assert response.status_code == 200, response.text
            answers.append(response.json())
        return answers


def ingest_holiday_photos(paths: StackPaths, api_url: str, count: int) -> None:
    with operator_of(paths, api_url) as client:
        for source, kind in (("photos", "photo"), ("street", "street")):
            client.post("/v1/sources", json={"name": source, "kind": kind}).raise_for_status()
            batch = client.post("/v1/batches", json={"source": source}).json()
            parts = [
                ("files", (f"holiday-{seed}.jpg", jpeg(seed, 48 + seed / 1e3, 2), "image/jpeg"))
                for seed in range(count)
            ]
            client.post(f"/v1/batches/{batch['id']}/images", files=parts).raise_for_status()
            client.post(f"/v1/batches/{batch['id']}/close").raise_for_status()
            until = time.monotonic() + 60
            while not client.get(f"/v1/batches/{batch['id']}").json()["is_processed"]:
                assert time.monotonic() < until
                time.sleep(0.1)


def assert_erased_to_the_byte(run: CliRunner, paths: StackPaths) -> None:
    """Erase the ingested organization, and search every file of the stack for its data."""
    sums = [hashlib.sha256(jpeg(seed, 48 + seed / 1e3, 2)) for seed in range(12)]
    patterns = [b"holiday-", *(checksum.digest() for checksum in sums)]
    patterns += [checksum.hexdigest().encode() for checksum in sums]
    result = run.invoke(app, ["orgs", "delete", "default", "--yes", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 24
    remaining = [
        (str(path), pattern)
        for root in (paths.home, paths.cluster_dir)
        for path in root.rglob("*")
        if path.is_file()
        for data in [path.read_bytes()]
        for pattern in patterns
        if pattern in data
    ]
    assert remaining == []
    assert files(paths.blobs_dir) == {}


@pytest.mark.ci
@pytest.mark.timeout(240)
def test_backup_destroy_and_restore_return_the_same_answers(monkeypatch, tmp_path):
    with home_folder() as home:
        monkeypatch.setenv("PINPOINT_HOME", str(home))
        settings, paths = Settings(services=ServiceSettings(home=home)), StackPaths(home)
        watcher, out, run = watch_over(home), tmp_path / "all.tar", CliRunner()
        try:
            url = lifecycle.start_stack(settings).api_url
            ingest_holiday_photos(paths, url, 12)
            photos = [jpeg(seed, 0, 0) for seed in (0, 5, 100)]
            before = ask(paths, url, photos)
            original = dumps.read_installation(paths.owner_url())
            backup_result = run.invoke(app, ["backup", str(out), "--json"])
            assert backup_result.exit_code == 0, backup_result.output
            manifest = json.loads(backup_result.stdout)
            assert (manifest["counts"]["images"], manifest["blobs"]) == (24, 24)
            assert out.stat().st_mode & 0o077 == 0

            lifecycle.stop_stack(settings)
            lifecycle.erase_stack(settings)
            assert not home.exists()
            restore_result = run.invoke(app, ["restore", str(out), "--json"])
            assert restore_result.exit_code == 0, restore_result.output
            document = json.loads(restore_result.stdout)
            assert document["counts"] == manifest["counts"]
            assert document["drift"]["checked"] == 24
            assert (
                document["drift"]["missing"]
                + document["drift"]["stale"]
                + document["drift"]["extra"]
                == 0
            )

            now = lifecycle.stack_status(settings)
            assert now.state == "up"
            mine = dumps.read_installation(paths.owner_url())
            assert mine != original
            info = run.invoke(app, ["index", "info", "--json"])
            assert json.loads(info.stdout)["installation"] == str(mine)
            after = ask(paths, now.api_url, photos)
            assert [json.dumps(strip_volatile(answer)) for answer in after] == [
                json.dumps(strip_volatile(answer)) for answer in before
            ]
            refused = run.invoke(app, ["restore", str(out)])
            assert isinstance(refused.exception, ConflictError)
            assert lifecycle.stack_status(settings).state == "up"
            assert_erased_to_the_byte(run, paths)
        finally:
            lifecycle.stop_stack(settings)
            remaining = processes.find_stack_processes(paths)
            dismiss(watcher)
            lifecycle.erase_stack(settings)
        assert remaining == []


def test_backup_without_stack_raises(home, tmp_path):
    with pytest.raises(StackError, match="no stack"):
        write_backup(Settings(), tmp_path / "out.tar", quiet)
    with pytest.raises(BadRequestError, match="no folder"):
        write_backup(Settings(), tmp_path / "none" / "out.tar", quiet)


def test_backup_during_another_backup_raises_conflict(filled, settings, tmp_path, monkeypatch):
    from pinpoint.store.deletion.image_deletion import BACKUP_LOCK

    monkeypatch.setattr(dumps, "LOCK_WAIT", "200ms")
    with psycopg.connect(
        settings.services.database_url.replace("+psycopg", ""), autocommit=True
    ) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (BACKUP_LOCK,))
        with pytest.raises(ConflictError, match="another backup"):
            write_backup(settings, tmp_path / "out.tar", quiet)
