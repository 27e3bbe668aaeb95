"""A client that `openapi-python-client` generates from the OpenAPI document calls the API."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from document_blocks import ROOT
from pinpoint.api.app import create_app
from stack_fixtures import write_photos

GENERATOR = "openapi-python-client==0.29.1"
OPTIONS = ROOT / "clients" / "python" / "generator.yml"
PROGRAM = """
import sys, time
from io import BytesIO
from pathlib import Path

from pinpoint_generated import AuthenticatedClient, models
from pinpoint_generated.api.health import ready
from pinpoint_generated.api.images import (
    delete_image, get_image, get_image_file, get_thumbnail, list_images, update_image,
)
from pinpoint_generated.api.ingest import close_batch, get_batch, open_batch, upload_images
from pinpoint_generated.api.search import locate, similar
from pinpoint_generated.api.exports import export_images
from pinpoint_generated.api.sources import add_source, erase_source, list_sources
from pinpoint_generated.api.spatial_queries import find_neighbors
from pinpoint_generated.types import File

server, key, folder = sys.argv[1:]
client = AuthenticatedClient(base_url=server, token=key)
photos = sorted(Path(folder).iterdir())
assert ready.sync(client=client).ready
added = add_source.sync(
    client=client, body=models.SourceIn(name="generated", kind=models.SourceInKind.PHOTO)
)
batch = open_batch.sync(client=client, body=models.BatchIn(source="generated"))
files = [File(payload=BytesIO(path.read_bytes()), file_name=path.name) for path in photos]
form = models.UploadImagesUploadForm(files=files)
uploaded = upload_images.sync(batch.id, client=client, body=form)
assert len(uploaded.items) == len(photos)
close_batch.sync(batch.id, client=client)
while not get_batch.sync(batch.id, client=client).is_processed:
    time.sleep(0.2)
assert "generated" in {source.name for source in list_sources.sync(client=client).sources}
page = list_images.sync(client=client, source=["generated"])
assert len(page.images) == len(photos)
image = get_image.sync(page.images[0].id, client=client)
photo = File(payload=BytesIO(photos[0].read_bytes()), file_name="photo.jpg")
answer = locate.sync(
    client=client, body=models.LocateLocateForm(photo=[photo], sources=["generated"])
)
assert -90 <= answer.point.lat <= 90, answer
similar_images = similar.sync(
    client=client, body=models.SimilarSimilarForm(image_id=image.id, limit=2)
)
assert similar_images.groups
for file in (
    get_thumbnail.sync_detailed(image.id, client=client),
    get_image_file.sync_detailed(image.id, client=client),
):
    assert file.content.startswith(b"\\xff\\xd8")
exported = export_images.sync_detailed("csv", client=client, source=["generated"])
lines = exported.content.count(b"\\n")
assert lines == len(photos) + 1, (exported.status_code, exported.content)
updated = update_image.sync(image.id, client=client, body=models.ImageUpdateIn(creator="me"))
assert updated.creator == "me"
points = models.NeighborsIn(
    points=[models.Point(lat=image.lat, lon=image.lon)], radius_m=10.0, limit_per_kind=1
)
assert find_neighbors.sync(client=client, body=points).results[0].neighbors
assert delete_image.sync_detailed(image.id, client=client).status_code == 204
problem = get_image.sync(image.id, client=client)
assert (type(problem).__name__, problem.reason) == ("Problem", "not_found")
assert erase_source.sync("generated", client=client).images == len(photos) - 1
print("all calls answered")
"""


def run(*command) -> str:
    completed = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout[-4000:]
    return completed.stdout


@pytest.mark.timeout(600)
def test_generated_client_works_for_routes_of_each_kind(running_stack, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(create_app().openapi()), encoding="utf-8")
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", GENERATOR)
    package = tmp_path / "pinpoint_generated"
    printed = run(
        python.parent / "openapi-python-client",
        *("generate", "--path", document, "--config", OPTIONS),
        *("--meta", "none", "--output-path", package),
    )
    # A route or an answer that it cannot read is only a warning for the generator.
    assert re.findall(r"WARNING parsing .*|ERROR .*", printed) == []
    operations = {
        operation["operationId"]
        for methods in json.loads(document.read_text())["paths"].values()
        for operation in methods.values()
    }
    modules = {path.stem for path in (package / "api").rglob("*.py")} - {"__init__"}
    assert modules == operations
    for module in sorted(package.glob("api/*/*.py")):
        compile(module.read_text(encoding="utf-8"), str(module), "exec")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    photos = tmp_path / "photos"
    write_photos(photos, 4, first=61_000)
    key = running_stack.operator_key
    assert "all calls answered" in run(python, program, running_stack.api_url, key, photos)
