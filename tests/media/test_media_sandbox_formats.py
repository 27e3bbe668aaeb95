"""Every format gives the same result inside the sandbox and without it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from media.formats import MAKERS
from media.pictures import noise
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import DecodedImage, MetadataOverride, Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

LARGE = (2_400, 1_800)
MAX_OF_SUFFIX = 12
POSITION = MetadataOverride(lat=48.0, lon=2.0)


@pytest.fixture(scope="module", autouse=True)
def _modules() -> Iterator[None]:
    """Children find the modules of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def confined() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings(), children=2) as child_decoder:
        yield child_decoder


@pytest.fixture(scope="module")
def limited() -> Iterator[ChildDecoder]:
    """Decodes without the sandbox."""
    with ChildDecoder(
        MediaSettings(), children=2, module="media.child_limits_only"
    ) as child_decoder:
        yield child_decoder


def digest(result: DecodedImage | Rejected) -> object:
    """Metadata of a file and a hash of its pixels."""
    if isinstance(result, Rejected):
        return result
    faces = hashlib.sha256()
    for face in result.faces:
        faces.update(face.pixels.tobytes() + face.thumbnail)
    return asdict(result.capture), faces.hexdigest()


@pytest.mark.parametrize("kind", MAKERS)
def test_decoder_format_in_sandbox_equals_without_sandbox(
    kind: str, confined: ChildDecoder, limited: ChildDecoder
) -> None:
    data = MAKERS[kind](noise(*LARGE))
    for query in (False, True):
        result = confined.read(kind, data, POSITION, query=query)
        assert isinstance(result, DecodedImage), result
        assert digest(result) == digest(limited.read(kind, data, POSITION, query=query))


def test_decoder_real_files_in_sandbox_equal_without_sandbox(
    confined: ChildDecoder, limited: ChildDecoder
) -> None:
    root = shared_data()
    files = [path for top in ("photos", "odd") for path in sample_by_suffix(root / top)]
    assert len(files) > 150

    def read_all(decoder: ChildDecoder) -> dict[str, object]:
        with ThreadPoolExecutor(2) as pool:
            results = pool.map(lambda path: decoder.read(path.name, str(path), POSITION), files)
            return {
                os.fsdecode(path.relative_to(root)): digest(result)
                for path, result in zip(files, results, strict=True)
            }

    confined_results, limited_results = read_all(confined), read_all(limited)
    assert {
        name: result for name, result in confined_results.items() if result != limited_results[name]
    } == {}


def sample_by_suffix(folder: Path) -> list[Path]:
    """At most 12 files of each suffix, spread evenly; `test_inspect.py` reads all files."""
    by_suffix: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    return [
        path for paths in by_suffix.values() for path in paths[:: -(-len(paths) // MAX_OF_SUFFIX)]
    ]
