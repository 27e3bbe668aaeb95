"""Uploads many files as one batch, in requests within the server's limits.

A file that cannot be sent does not stop the others; it is returned as rejected, with an error code.
After a lost response, the request is repeated without the files that the server has received. A
second upload of the same file has no effect, because name and bytes are its identity.

The functions are flows (`calls.call`): both clients run them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pinpoint_client import answers
from pinpoint_client.calls import batch_calls
from pinpoint_client.calls.call import ByteProgress, Flow, Json, Pause
from pinpoint_client.errors import BadRequestError, ForbiddenError, TooLargeError
from pinpoint_client.parameters import Id
from pinpoint_client.retry import RetryPolicy, send_call

if TYPE_CHECKING:
    from pinpoint_client.ingest_answers import IngestedBatch

MAX_FILES_PER_REQUEST: Final = 64
MAX_BYTES_PER_REQUEST: Final = 64_000_000
MAX_NAME_LENGTH: Final = 512
IMAGE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff"}
)
"""Endings of the files that `list_images` finds."""
_MIN_POLL_S: Final = 0.1
_MAX_POLL_S: Final = 2.0

BatchCallback = Callable[[Json], None] | None
"""Called with the JSON document of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to send with known metadata; `name` is its identity in the source."""

    name: str
    path: Path
    metadata_override: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedUpload:
    """A file that is not sent, with the stage and the code of its error."""

    file: str
    error_stage: str
    error_code: str
    error_message: str


def list_images(folder: Path) -> list[Upload]:
    """List the image files below a folder, by name; names are paths below the folder.

    Raises:
        BadRequestError: The folder does not exist.
    """
    if not folder.is_dir():
        raise BadRequestError(f"there is no folder {folder}", reason="no_files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [
        Upload(name=path.relative_to(folder).as_posix(), path=path)
        for path in paths
        if path.is_file()
    ]


def upload_files(
    uploads: Iterable[Upload],
    source: Id,
    *,
    rejections: Iterable[RejectedUpload] = (),
    wait: bool = False,
    on_progress: BatchCallback = None,
    on_upload: ByteProgress | None = None,
) -> Flow[Json]:
    """Upload files as one batch.

    Args:
        uploads: The files.
        source: Name or id of the source.
        rejections: Files that the caller has rejected.
        wait: Return only when each file has a final status.
        on_progress: Called with the batch after each request.
        on_upload: Called with the bytes of the current request that were sent.

    Returns:
        The JSON document of the batch. `not_sent` lists the rejected files; `repeated` is the
        number of requests repeated because the server was unavailable.

    Raises:
        BadRequestError: There is nothing to upload.
        UnavailableError: The server was unavailable for longer than the retry policy allows.
    """
    sendable, rejected = _partition_uploads(uploads)
    rejected = [*rejections, *rejected]
    if not sendable and not rejected:
        raise BadRequestError("no files to upload", reason="no_files")
    patience = RetryPolicy()
    batch = yield from open_batch(source, patience)
    uploader = _BatchUploader(batch["id"], patience, on_upload)
    show = batch_calls.batch(batch["id"]).as_json()
    for chunk in split_into_requests(sendable):
        rejected += yield from uploader.send(chunk)
        if on_progress is not None:
            on_progress((yield from patience.repeat(lambda: send_call(show))))
    close = batch_calls.close_batch(batch["id"]).as_json()
    batch = yield from patience.repeat(lambda: send_call(close))
    if wait:
        batch = yield from wait_until_processed(batch, on_progress, patience)
    return {
        **batch,
        "not_sent": [asdict(rejection) for rejection in rejected],
        "repeated": patience.repeated,
    }


def ingest_files(
    uploads: Iterable[Upload],
    *,
    source: Id,
    wait: bool = False,
    on_progress: Callable[[answers.Batch], None] | None = None,
    on_upload: ByteProgress | None = None,
) -> Flow[IngestedBatch]:
    """Upload files as one batch.

    Args:
        uploads: The files, with their names in the source and their known metadata.
        source: Name or id of the source.
        wait: Return only when each file has a final status.
        on_progress: Called with the batch after each request.
        on_upload: Called with the bytes of the current request that were sent.

    Raises:
        BadRequestError: There is nothing to upload.
        UnavailableError: The server was unavailable for longer than the retry policy allows.
    """
    batch = yield from upload_files(
        uploads,
        source,
        wait=wait,
        on_progress=make_batch_callback(on_progress),
        on_upload=on_upload,
    )
    # Imported here so that `import pinpoint_client` stays fast.
    from pinpoint_client.ingest_answers import IngestedBatch

    return IngestedBatch.model_validate(batch)


def ingest_folder(
    folder: str | Path,
    *,
    source: Id,
    wait: bool = False,
    on_progress: Callable[[answers.Batch], None] | None = None,
    on_upload: ByteProgress | None = None,
) -> Flow[IngestedBatch]:
    """Upload the images below a folder as one batch; a file's path below it is its name.

    Positions and times come from the files. `ingest_files` takes known metadata; manifests,
    sidecars and GPX tracks are read by the command `pinpoint ingest`.

    Args:
        folder: The folder.
        source: Name or id of the source.
        wait: Return only when each file has a final status.
        on_progress: Called with the batch after each request.
        on_upload: Called with the bytes of the current request that were sent.

    Raises:
        BadRequestError: There is nothing to upload.
    """
    return ingest_files(
        list_images(Path(folder)),
        source=source,
        wait=wait,
        on_progress=on_progress,
        on_upload=on_upload,
    )


def wait_for_batch(
    batch_id: Id, *, on_progress: Callable[[answers.Batch], None] | None = None
) -> Flow[answers.Batch]:
    """Wait until each file of a batch has a final status.

    Args:
        batch_id: The batch; it should be closed.
        on_progress: Called with each state of the batch.
    """
    batch = yield batch_calls.batch(batch_id).as_json()
    batch = yield from wait_until_processed(batch, make_batch_callback(on_progress), RetryPolicy())
    return answers.Batch.model_validate(batch)


def open_batch(source: Id, patience: RetryPolicy) -> Flow[Json]:
    """Open a batch; after a lost response, the repeated request opens no second one.

    Args:
        source: Name or id of the source.
        patience: Repeats the request.

    Returns:
        The JSON document of the batch.
    """
    call = batch_calls.open_batch(source, idempotency_key=str(uuid4())).as_json()
    batch: Json = yield from patience.repeat(lambda: send_call(call))
    return batch


def make_batch_callback(on_progress: Callable[[answers.Batch], None] | None) -> BatchCallback:
    """Make a function that calls another one with the typed batch; None for None."""
    if on_progress is None:
        return None
    return lambda batch: on_progress(answers.Batch.model_validate(batch))


def wait_until_processed(
    batch: Json, on_progress: BatchCallback, patience: RetryPolicy
) -> Flow[Json]:
    """Poll with increasing intervals until each file of a batch has a final status."""
    pause_s, show = _MIN_POLL_S, batch_calls.batch(batch["id"]).as_json()
    while not batch["is_processed"]:
        yield Pause(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_POLL_S)
        batch = yield from patience.repeat(lambda: send_call(show))
        if on_progress is not None:
            on_progress(batch)
    return batch


def split_into_requests(files: Iterable[Upload]) -> Iterator[list[Upload]]:
    """Split files into requests within `MAX_FILES_PER_REQUEST` and `MAX_BYTES_PER_REQUEST`.

    A larger file is sent alone. A name occurs once per request, because it is the key of the
    overrides.
    """
    chunk: list[Upload] = []
    names: set[str] = set()
    size = 0
    for file in files:
        file_bytes = file.path.stat().st_size
        if chunk and (
            len(chunk) == MAX_FILES_PER_REQUEST
            or size + file_bytes > MAX_BYTES_PER_REQUEST
            or file.name in names
        ):
            yield chunk
            chunk, names, size = [], set(), 0
        chunk.append(file)
        names.add(file.name)
        size += file_bytes
    if chunk:
        yield chunk


class _BatchUploader:
    """Sends files to one batch that no other client uses."""

    def __init__(
        self, batch_id: str, patience: RetryPolicy, on_upload: ByteProgress | None
    ) -> None:
        self._batch_id = batch_id
        self._patience = patience
        self._on_upload = on_upload
        self._num_items = 0
        """Lower bound of the number of files in the batch; their positions start at 1."""
        self._earlier_names: set[str] = set()
        """Names in earlier requests; a manifest may repeat a name with other metadata."""

    def send(self, chunk: list[Upload]) -> Flow[list[RejectedUpload]]:
        """Send files in one request, or in halves if the request is too large.

        Returns:
            Files that the server rejects because of their size.
        """
        try:
            yield from self._send_chunk(chunk)
        except TooLargeError as error:
            if len(chunk) == 1:
                return [_reject(chunk[0].name, "read", "too_large", error.message)]
            middle = len(chunk) // 2
            first = yield from self.send(chunk[:middle])
            second = yield from self.send(chunk[middle:])
            return [*first, *second]
        except OSError as error:
            raise BadRequestError(f"cannot read {error.filename}: {error.strerror}") from error
        return []

    def _send_chunk(self, chunk: list[Upload]) -> Flow[None]:
        """Send one request; after a lost response, repeat it with the files not yet received."""
        is_retry = False

        def send_remaining() -> Flow[None]:
            nonlocal is_retry
            uploaded = (yield from self._list_uploaded_names()) if is_retry else set()
            is_retry = True
            uploaded -= self._earlier_names
            remaining = [file for file in chunk if file.name not in uploaded]
            if not remaining:
                return
            overrides = {
                file.name: file.metadata_override for file in remaining if file.metadata_override
            }
            answer = yield batch_calls.upload(
                self._batch_id,
                {file.name: file.path for file in remaining},
                overrides or None,
                on_upload=self._on_upload,
            ).as_json()
            self._num_items = int(answer["batch"]["items"])

        yield from self._patience.repeat(send_remaining)
        self._earlier_names.update(file.name for file in chunk)

    def _list_uploaded_names(self) -> Flow[set[str]]:
        """Names of files that the server has received since its last response."""
        try:
            page: Any = yield batch_calls.items(
                self._batch_id, after_position=self._num_items, limit=1_000
            ).as_json()
        except ForbiddenError:  # an ingest-only key: repeat all files, which is safe
            return set()
        return {item["file"] for item in page["items"]}


def _partition_uploads(
    uploads: Iterable[Upload],
) -> tuple[list[Upload], list[RejectedUpload]]:
    """Split files into those that can be sent and rejections."""
    sendable: list[Upload] = []
    rejections: list[RejectedUpload] = []
    for upload in uploads:
        rejection = _reject_unsendable(upload)
        if rejection is None:
            sendable.append(upload)
        else:
            rejections.append(rejection)
    return sendable, rejections


def _reject_unsendable(file: Upload) -> RejectedUpload | None:
    display_name = file.name.encode("utf-8", "replace").decode()[:300]
    if not file.name.isprintable() or len(file.name) > MAX_NAME_LENGTH:
        detail = (
            f"its name has control characters or more than {MAX_NAME_LENGTH} characters; rename it"
        )
        return _reject(display_name, "read", "missing_file", detail)
    if "\\" in file.name or "%22" in file.name:
        # Over HTTP a backslash may mean a slash, and %22 means a quotation mark.
        detail = "a backslash or %22 would be changed during upload; rename it"
        return _reject(display_name, "find", "bad_name", detail)
    try:
        with file.path.open("rb"):
            return None
    except OSError as error:
        detail = f"it cannot be opened: {error.strerror}"
        return _reject(display_name, "read", "missing_file", detail)


def _reject(name: str, stage: str, code: str, message: str) -> RejectedUpload:
    return RejectedUpload(file=name, error_stage=stage, error_code=code, error_message=message)
