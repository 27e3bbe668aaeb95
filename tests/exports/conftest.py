from __future__ import annotations

import uuid

import pytest

from exports.gallery_server import insert_rows, make_rows, serve_gallery

ROWS = make_rows(300)


@pytest.fixture(scope="session")
def _exports(postgres, server_paths, tmp_path_factory):
    name = f"x_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    home = tmp_path_factory.mktemp("exports") / "home"
    home.mkdir(mode=0o700)
    with serve_gallery(server_paths.owner_url(name), server_paths.api_url(name), home) as server:
        insert_rows(server.owner, server.organization_id, ROWS)
        yield server
    postgres.drop(name)


@pytest.fixture
def gallery(_exports):
    """The API over 300 rows, with the default limits."""
    _exports.limit()
    return _exports
