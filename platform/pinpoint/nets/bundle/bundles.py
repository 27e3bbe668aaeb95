"""Read bundles without torch: contracts are needed more often than weights.

The index owner, the index build and most commands need only the contract. Importing torch costs
seconds and 190 MB, and blocks the index owner for half a second while it loads (measured).
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

from pinpoint.errors import BadBundleError, ConflictError
from pinpoint.file_locks import try_lock
from pinpoint.nets.bundle.calibrations import calibration_files, read_calibrations
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    CoordinatesSpec,
    descriptor_contract,
    parse_contract,
)
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.bundle.specs import WeightsSpec
from pinpoint.records import Calibration
from pinpoint.settings import BUILT_IN_BUNDLE

BUNDLES_FOLDER: Final = "bundles"
SHIPPED_FOLDER: Final = Path(__file__).parents[1] / "shipped"
"""Bundles of this package; a bundle of the same name in the home folder has precedence."""
BUILT_IN_FOLDER: Final = SHIPPED_FOLDER / BUILT_IN_BUNDLE
"""The built-in bundle without the weights of its tower, which another package carries."""
_PREPARATION_S: Final = 120.0
"""Time to wait for another process that prepares the built-in bundle; alone it takes 3 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose files were read and checked; its tower is not built yet."""

    contract: BundleContract
    weights: Path | None
    """Weights of the tower; None for the descriptor and in `BUILT_IN_FOLDER`."""
    aggregation: Path | None = None
    """Vocabulary and PCA of the aggregation, if it has any."""
    heads: Path | None = None
    """Weights of the heads and the location tower, if there are any."""
    coordinates: Path | None = None
    """List of coordinates to search without a gallery, if there is one."""
    reranker: Path | None = None
    """Weights of the reranker, if there is one."""
    text: Path | None = None
    """Weights of the text encoder, if there is one."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By ranker; `digests.public_contract` checks that they fit the contract."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files named by the contract."""
        files = (
            self.weights,
            self.aggregation,
            self.heads,
            self.coordinates,
            self.reranker,
            self.text,
        )
        return tuple(file for file in files if file is not None)


def descriptor_bundle() -> Bundle:
    """The bundle of the descriptor, which needs no folder."""
    return Bundle(contract=descriptor_contract(), weights=None)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its contract and the digests of its files.

    Raises:
        BadBundleError: A file is missing, the contract is invalid, or a digest differs.
    """
    path = folder / CONTRACT_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadBundleError(
            f"{folder} is not a bundle: {CONTRACT_FILE} cannot be read ({error.strerror})"
        ) from error
    contract = parse_contract(text, str(path))
    if contract.weights is None:
        raise BadBundleError(f"{path} names no weights")
    weights = None
    if folder != BUILT_IN_FOLDER:
        weights = _check_file(folder, contract.weights, "weights")
    aggregation = contract.aggregation.weights if contract.aggregation else None
    heads = _check_file(folder, contract.heads.weights, "weights") if contract.heads else None
    coordinates = contract.heads.coordinates if contract.heads else None
    reranker = contract.reranker.weights if contract.reranker else None
    return Bundle(
        contract=contract,
        weights=weights,
        aggregation=_check_file(folder, aggregation, "aggregation") if aggregation else None,
        heads=heads,
        coordinates=_check_file(folder, coordinates, "coordinates") if coordinates else None,
        reranker=_check_file(folder, reranker, "weights") if reranker else None,
        text=_check_file(folder, contract.text, "text weights") if contract.text else None,
        calibrations=read_calibrations(folder),
    )


def _check_file(folder: Path, spec: WeightsSpec | CoordinatesSpec, label: str) -> Path:
    """Path of a file after checking its digest.

    Raises:
        BadBundleError: The file cannot be read, or its digest differs from the contract.
    """
    file = folder / spec.file
    try:
        sha256 = file_sha256(file)
    except OSError as error:
        raise BadBundleError(
            f"bundle {folder} lacks its {label}: {spec.file} cannot be read ({error.strerror})"
        ) from error
    if sha256 != spec.sha256:
        raise BadBundleError(
            f"the {label} {file} are not those of the contract: SHA-256 is {sha256}, the contract"
            f" says {spec.sha256}. Copy the whole bundle again."
        )
    return file


def find_bundle(name: str, home: Path) -> Bundle:
    """Find a bundle: `descriptor`, a folder, or a name in `home/bundles` or in this package.

    The built-in bundle is prepared in the home if it is not there yet.

    Raises:
        BadBundleError: It does not exist or is invalid; the message lists the existing bundles.
    """
    if name == DESCRIPTOR_NAME:
        return descriptor_bundle()
    as_path = Path(name).expanduser()
    named = [folder for folder in bundle_folders(home) if folder.name == name]
    for folder in (as_path, *named):
        if (folder / CONTRACT_FILE).is_file():
            return read_bundle(prepare_built_in(home) if folder == BUILT_IN_FOLDER else folder)
    if as_path.is_dir():
        raise BadBundleError(f"{as_path} is not a bundle: it has no {CONTRACT_FILE}")
    names = [DESCRIPTOR_NAME, *dict.fromkeys(folder.name for folder in bundle_folders(home))]
    raise BadBundleError(
        f"no bundle {name!r}: it is not a folder; in {home / BUNDLES_FOLDER} and this package "
        f"there are {', '.join(names)}"
    )


def prepare_built_in(home: Path) -> Path:
    """Write the built-in bundle to the bundles of a home, with the converted weights of its tower.

    Done once per home, by one process; others that need the bundle at the same time wait for it.
    Only the process that does it imports torch.

    Returns:
        The folder of the bundle.

    Raises:
        BadBundleError: The package with the weights is not installed or is another one, or the
            weights do not fit the contract.
    """
    folder = home / BUNDLES_FOLDER / BUILT_IN_BUNDLE
    if (folder / CONTRACT_FILE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_file = folder.with_name(f".{BUILT_IN_BUNDLE}.lock")
    with try_lock(lock_file, timeout_s=_PREPARATION_S) as is_locked:
        if (folder / CONTRACT_FILE).is_file():
            return folder
        if not is_locked:
            raise BadBundleError(
                f"another process has been preparing {folder} for {_PREPARATION_S:g} s"
            )
        from pinpoint.nets.bundle.published_weights import write_published_weights

        with atomic_folder(folder) as draft:
            for file in BUILT_IN_FOLDER.iterdir():
                shutil.copyfile(file, draft / file.name)
            contract = read_bundle(BUILT_IN_FOLDER).contract
            write_published_weights(draft, contract)
            read_bundle(draft)
    return folder


def bundle_folders(home: Path) -> list[Path]:
    """Bundle folders sorted by name, those of the home first; nothing is read.

    Drafts, which can be incomplete, start with a dot and are omitted.
    """
    return [
        folder
        for below in (home / BUNDLES_FOLDER, SHIPPED_FOLDER)
        for folder in sorted(below.glob("[!.]*"))
        if folder.is_dir()
    ]


def resolve_bundle(contract_digest: str, home: Path, rendition_px: int, configured: str) -> str:
    """Find the bundle whose contract has a digest; returns an argument for `find_bundle`.

    Of several, the configured bundle has precedence, then one with a reranker, then the first.

    Args:
        contract_digest: Digest of the contract.
        home: Home folder of the stack.
        rendition_px: As for `digest`.
        configured: Bundle named by the settings: a name or a folder.

    Raises:
        BadBundleError: No bundle has this contract.
    """
    if digest(descriptor_contract(), rendition_px) == contract_digest:
        return DESCRIPTOR_NAME
    folders = bundle_folders(home)
    named = [Path(configured).expanduser(), *(path for path in folders if path.name == configured)]
    matches: list[tuple[bool, Path]] = []
    for folder in (*named, *folders):
        path = folder / CONTRACT_FILE
        try:
            contract = parse_contract(path.read_bytes(), str(path))
        except (OSError, BadBundleError):
            continue  # missing or invalid, so not the requested bundle
        if digest(contract, rendition_px) == contract_digest:
            if folder in named:
                return str(folder)
            matches.append((contract.reranker is None, folder))
    if matches:
        return str(min(matches, key=lambda match: match[0])[1])
    raise BadBundleError(
        f"no bundle here has the contract {contract_digest}: put the bundle that the index was "
        f"built with into {home / BUNDLES_FOLDER}, and do not change PINPOINT_MEDIA_RENDITION_PX"
    )


def copy_bundle(folder: Path, into: Path) -> Bundle:
    """Copy a bundle; `into` is created atomically.

    Raises:
        BadBundleError: The bundle or its copy is invalid.
        ConflictError: `into` exists.
    """
    bundle = read_bundle(folder)
    with atomic_folder(into) as draft:
        for file in (folder / CONTRACT_FILE, *bundle.files, *calibration_files(folder)):
            shutil.copyfile(file, draft / file.name)
        read_bundle(draft)
    return read_bundle(into)


def require_absent(folder: Path) -> None:
    """Check that a folder does not exist.

    Raises:
        ConflictError: The folder exists.
    """
    if folder.exists():
        raise ConflictError(f"{folder} exists already; bundles are never overwritten")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft folder that is renamed to `folder` after the block; removed after an error.

    Raises:
        ConflictError: The folder exists.
    """
    require_absent(folder)
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
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
