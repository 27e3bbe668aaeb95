"""Reading bundles without torch: what weights promise is known long before they are needed.

The owner of the index, its builder and most commands ask only for the contract; torch would cost
them seconds, 190 MB, and the owner a pause of half a second while its library is loaded (measured).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pinpoint.errors import BadBundle, Conflict
from pinpoint.nets.calibrations import calibration_files, read_calibrations
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    PlacesSpec,
    WeightsSpec,
    descriptor_contract,
    parse_contract,
)
from pinpoint.nets.digests import digest
from pinpoint.records import Calibration

BUNDLES_FOLDER: Final = "bundles"
SHIPPED: Final = Path(__file__).with_name("shipped")
"""Bundles that come with this package; one of the same name in the home goes before."""
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and found whole; its tower is not built yet."""

    contract: BundleContract
    weights: Path | None
    """Of the tower; None for the descriptor only."""
    heads: Path | None = None
    """Of the networks behind it, where there are any."""
    places: Path | None = None
    """The list of places that it can answer with, where there is one."""
    reranker: Path | None = None
    """Of the network that judges candidates, where there is one."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By ranker; whether they are of this contract, `digests.public_contract` sees."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the contract names."""
        named = (self.weights, self.heads, self.places, self.reranker)
        return tuple(each for each in named if each is not None)


def descriptor_bundle() -> Bundle:
    """The bundle that needs no folder."""
    return Bundle(contract=descriptor_contract(), weights=None)


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle: its contract, and that the weights are those it names.

    Raises:
        BadBundle: A file is missing, the contract is not as it must be, or the weights' digest
            differs.
    """
    path = folder / CONTRACT_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadBundle(
            f"{folder} is no bundle: {CONTRACT_FILE} cannot be read ({error.strerror})"
        ) from error
    contract = parse_contract(text, str(path))
    if contract.weights is None:
        raise BadBundle(f"{path} names no weights")
    weights = _checked(folder, contract.weights, "weights")
    heads = _checked(folder, contract.heads.weights, "weights") if contract.heads else None
    listed = contract.heads.places if contract.heads else None
    judge = contract.reranker.weights if contract.reranker else None
    return Bundle(
        contract=contract,
        weights=weights,
        heads=heads,
        places=_checked(folder, listed, "places") if listed else None,
        reranker=_checked(folder, judge, "weights") if judge else None,
        calibrations=read_calibrations(folder),
    )


def _checked(folder: Path, spec: WeightsSpec | PlacesSpec, what: str) -> Path:
    """A file of weights or places, if it is the one that the contract names."""
    file = folder / spec.file
    try:
        found = file_sha256(file)
    except OSError as error:
        raise BadBundle(
            f"bundle {folder} lacks its {what}: {spec.file} cannot be read ({error.strerror})"
        ) from error
    if found != spec.sha256:
        raise BadBundle(
            f"the {what} {file} are not those of the contract: SHA-256 is {found}, the contract"
            f" says {spec.sha256}. Copy the bundle again, whole."
        )
    return file


def find_bundle(name: str, home: Path) -> Bundle:
    """The bundle called `descriptor`, in a folder, or of a name below `home/bundles` or shipped.

    Raises:
        BadBundle: There is none, or it is not whole; the message lists those there are.
    """
    if name == DESCRIPTOR_NAME:
        return descriptor_bundle()
    as_path = Path(name).expanduser()
    named = [folder for folder in bundle_folders(home) if folder.name == name]
    for folder in (as_path, *named):
        if (folder / CONTRACT_FILE).is_file():
            return read_bundle(folder)
    if as_path.is_dir():
        raise BadBundle(f"{as_path} is no bundle: it has no {CONTRACT_FILE}")
    known = [DESCRIPTOR_NAME, *dict.fromkeys(folder.name for folder in bundle_folders(home))]
    raise BadBundle(
        f"no bundle {name!r}: it is no folder; below {home / BUNDLES_FOLDER} and with this package "
        f"there are {', '.join(known)}"
    )


def bundle_folders(home: Path) -> list[Path]:
    """Folders of bundles, those of the home first, each by name; not yet read.

    Drafts, which may be half written, begin with a dot and are left out.
    """
    return [
        folder
        for below in (home / BUNDLES_FOLDER, SHIPPED)
        for folder in sorted(below.glob("[!.]*"))
        if folder.is_dir()
    ]


def bundle_of(wanted: str, home: Path, rendition_px: int, configured: str) -> str:
    """The bundle whose contract has a digest, in words that `find_bundle` takes.

    Of several it is the one that the settings name, else one with a reranker, else the first.

    Args:
        wanted: Digest of the contract.
        home: Of the stack.
        rendition_px: As for the digest.
        configured: Another place to look at: what the settings name.

    Raises:
        BadBundle: There is none.
    """
    if digest(descriptor_contract(), rendition_px) == wanted:
        return DESCRIPTOR_NAME
    there = bundle_folders(home)
    named = [Path(configured).expanduser(), *(each for each in there if each.name == configured)]
    found: list[tuple[bool, Path]] = []
    for folder in (*named, *there):
        path = folder / CONTRACT_FILE
        try:
            contract = parse_contract(path.read_bytes(), str(path))
        except (OSError, BadBundle):
            continue  # not there, or no bundle: then it is not the one that is looked for
        if digest(contract, rendition_px) == wanted:
            if folder in named:
                return str(folder)
            found.append((contract.reranker is None, folder))
    if found:
        return str(min(found, key=lambda each: each[0])[1])
    raise BadBundle(
        f"no bundle here has the contract {wanted}: put the bundle that the index was made with "
        f"below {home / BUNDLES_FOLDER}, and leave PINPOINT_MEDIA_RENDITION_PX as it was"
    )


def copy_bundle(folder: Path, into: Path) -> Bundle:
    """Copy a whole bundle; it appears at `into` whole or not at all.

    Raises:
        BadBundle: It is not whole, here or there.
        Conflict: There is something at `into`.
    """
    bundle = read_bundle(folder)
    with whole_folder(into) as draft:
        for file in (folder / CONTRACT_FILE, *bundle.files, *calibration_files(folder)):
            shutil.copyfile(file, draft / file.name)
        read_bundle(draft)
    return read_bundle(into)


def check_new(folder: Path) -> None:
    """Whether a bundle may be written there.

    Raises:
        Conflict: There is something already.
    """
    if folder.exists():
        raise Conflict(f"{folder} exists already; a bundle is written once")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A draft beside `folder` that takes its place after the block, and is gone after an error.

    Raises:
        Conflict: There is something already.
    """
    check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft)
        raise


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    seen = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            seen.update(block)
    return seen.hexdigest()
