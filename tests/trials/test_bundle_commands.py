"""Activation with missing files, and commands that use the bundle of the index."""

from __future__ import annotations

import pytest

from pinpoint.errors import BadBundleError
from pinpoint.stack.backup.backup import write_backup
from small_stack import PHOTOS, SmallStack, two_bundles
from stack_fixtures import jpeg

pytestmark = [pytest.mark.ci]


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, tmp_path):
    small_stack = two_bundles(
        SmallStack(home, database_url, api_database_url, redis_url), tmp_path / "in"
    )
    yield small_stack
    small_stack.close()


@pytest.mark.timeout(240)
def test_activate_with_missing_files_requires_allow_missing(stack):
    (stack.folder / "0003.jpg").unlink()
    (stack.folder / "0004.jpg").write_bytes(jpeg(77, 3.0, 3.0))
    before = stack.held()
    message = stack.run("bundles", "activate", "tiny", code=73)
    assert "2 of 24 images would be lost" in message
    assert "1 missing_file" in message
    assert "--allow-missing 2" in message
    assert stack.held() == before
    document = stack.run("bundles", "activate", "tiny", "--allow-missing", "2", "--json")
    assert document["unreachable"] == {"missing_file": 1, "file_modified_since_indexing": 1}
    assert len(stack.held()[0]) == PHOTOS - 2
    message = stack.run("bundles", "delete-vectors", "tiny", "--json", code=73)
    assert "the index holds the vectors of tiny" in message
    stack.run("bundles", "activate", "descriptor", "--json")
    assert stack.held() == before, "their old vectors are still there"
    forgotten = stack.run("bundles", "delete-vectors", "tiny", "--json")
    assert forgotten == {"bundle": "tiny-timm", "vectors": PHOTOS - 2}
    assert stack.vectors(stack.tiny.contract.digest) == {}
    assert len(stack.vectors(stack.descriptor.contract.digest)) == PHOTOS


@pytest.mark.timeout(240)
def test_list_locate_and_backup_use_the_bundle_of_the_index(stack, tmp_path):
    def used():
        document = stack.run("bundles", "list", "--json")
        return [bundle["name"] for bundle in document["bundles"] if bundle["used"]]

    assert used() == ["descriptor"]
    stack.run("bundles", "activate", "tiny", "--json")
    assert used() == ["tiny"]
    folder = stack.paths.home / "bundles" / "tiny"
    folder.rename(folder.with_name(".away"))
    with pytest.raises(BadBundleError, match="no bundle here has the contract"):
        stack.locate(stack.folder / "0000.jpg")
    folder.with_name(".away").rename(folder)
    assert stack.locate(stack.folder / "0000.jpg").bundle == "tiny-timm"
    manifest = write_backup(stack.settings, tmp_path / "out.tar", lambda _: None)
    assert (manifest.bundle, manifest.contract) == ("tiny", stack.tiny.contract.digest)
    back = stack.command("bundles", "activate", "descriptor")
    out, error = back.communicate(timeout=100)
    assert back.returncode == 0, error
    assert "bundle descriptor is active, index build" in out
    assert "pinpoint config set bundle descriptor" in out
    assert used() == ["descriptor"]
