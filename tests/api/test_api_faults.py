"""Blobs of an upload whose database transaction fails."""

from __future__ import annotations

from contextlib import contextmanager

from pinpoint.errors import BadRequestError, DatabaseUnavailableError


def _upload(api, monkeypatch, error):
    with api.http() as http:
        source = http.post("/v1/sources", json={"name": "walk", "kind": "street"})
        assert source.status_code == 201
        batch = http.post("/v1/batches", json={"source": "walk"}).json()["id"]

        @contextmanager
        def broken(organization_id):
            with api.parts.database.read(organization_id) as rows:
                yield rows
            raise error  # after the commit, as far as the server is concerned

        with monkeypatch.context() as patch:
            patch.setattr(api.parts.database, "write", broken)
            files = [("files", ("a.jpg", b"one"))]
            return http.post(f"/v1/batches/{batch}/images", files=files)


def test_upload_with_unknown_commit_outcome_keeps_its_blobs(api, monkeypatch):
    answer = _upload(api, monkeypatch, DatabaseUnavailableError("lost in the commit"))
    assert answer.status_code == 503
    # A row may name them; where none does, `prune` removes them.
    assert list(api.parts.blobs.kept.values()) == [b"one"]


def test_upload_with_rejected_row_deletes_its_blobs(api, monkeypatch):
    assert _upload(api, monkeypatch, BadRequestError("no")).status_code == 400
    assert api.parts.blobs.kept == {}
