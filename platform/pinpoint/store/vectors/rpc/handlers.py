"""RPC handlers of an engine: a fixed list of verbs on one open build."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadRequestError, IndexUnavailableError, PinpointError
from pinpoint.fault_isolation import ENGINE_FAILED
from pinpoint.ports import VectorIndex
from pinpoint.records import IndexFilter, IndexInfo, IndexSpec
from pinpoint.store.vectors.rpc import codec

MAX_ROWS: Final = 50_000


class OpenBuild(VectorIndex, Protocol):
    """A build that an engine has open."""

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of the stored points and tombstones with these ids."""
        ...

    def flush(self) -> None:
        """Make all writes durable."""
        ...


class EngineState(Protocol):
    """Requests that both the owner and an engine answer."""

    def info(self) -> IndexInfo:
        """See `ports.VectorIndex`."""
        ...

    def ensure(self, spec: IndexSpec) -> None:
        """See `ports.VectorIndex`."""
        ...


ResponseFrame = tuple[codec.Fields, Sequence[codec.Array]]


def handle_info(index: EngineState, _: codec.Fields, __: list[codec.Array]) -> ResponseFrame:
    """Handle the verb `info`."""
    return {"info": index.info()}, ()


def handle_ensure(index: EngineState, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    """Handle the verb `ensure`."""
    spec: IndexSpec = codec.convert(fields, IndexSpec)
    if any(not 0 < width <= codec.MAX_WIDTH for width in spec.dims.values()):
        raise BadRequestError(f"vector widths must be 1 to {codec.MAX_WIDTH}, not {spec.dims}")
    index.ensure(spec)
    return {}, ()


def _handle_upsert(
    index: OpenBuild, fields: codec.Fields, arrays: list[codec.Array]
) -> ResponseFrame:
    contract: str | None = codec.convert(fields.get("contract"), str | None)
    index.upsert(codec.unpack_points(fields, arrays), contract)
    return {}, ()


def _handle_write_tombstones(
    index: OpenBuild, fields: codec.Fields, _: list[codec.Array]
) -> ResponseFrame:
    index.write_tombstones(dict(codec.convert(fields["versions"], list[tuple[UUID, int]])))
    return {}, ()


def _handle_delete_points(
    index: OpenBuild, fields: codec.Fields, _: list[codec.Array]
) -> ResponseFrame:
    index.delete_points(codec.convert(fields["ids"], list[UUID]))
    return {}, ()


def _handle_search(
    index: OpenBuild, fields: codec.Fields, arrays: list[codec.Array]
) -> ResponseFrame:
    return {"hits": index.search(codec.unpack_queries(fields, arrays))}, ()


def _handle_fetch(index: OpenBuild, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    ids: list[UUID] = codec.convert(fields["ids"], list[UUID])
    return codec.pack_points(index.fetch(ids, vectors=codec.convert(fields["vectors"], bool)))


def _handle_scroll(index: OpenBuild, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    rows = index.scroll(
        codec.convert(fields["after"], UUID | None),
        min(codec.convert(fields["limit"], int), MAX_ROWS),
        codec.convert(fields["organization"], UUID | None),
    )
    return {"rows": rows}, ()


def _handle_count(index: OpenBuild, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    where: IndexFilter | None = codec.convert(fields["filter"], IndexFilter | None)
    return {"count": index.count(where and codec.check_filter(where))}, ()


def _handle_versions(index: OpenBuild, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    stored = index.versions(codec.convert(fields["ids"], list[UUID]))
    return {"rows": [(point_id, *version) for point_id, version in stored.items()]}, ()


def _handle_flush(index: OpenBuild, _: codec.Fields, __: list[codec.Array]) -> ResponseFrame:
    index.flush()
    return {}, ()


HANDLERS: Final[
    Mapping[str, Callable[[OpenBuild, codec.Fields, list[codec.Array]], ResponseFrame]]
] = {
    "info": handle_info,
    "ensure": handle_ensure,
    "upsert": _handle_upsert,
    "write_tombstones": _handle_write_tombstones,
    "delete_points": _handle_delete_points,
    "search": _handle_search,
    "fetch": _handle_fetch,
    "scroll": _handle_scroll,
    "count": _handle_count,
    "versions": _handle_versions,
    "flush": _handle_flush,
}
"""Handlers of an engine by verb."""


def handle_request(index: OpenBuild, frame: bytes) -> bytes:
    """Handle one frame with a build."""

    def respond() -> bytes:
        fields, arrays = codec.decode(frame)
        return codec.encode(*find_handler(HANDLERS, fields)(index, fields, arrays))

    return encode_response(respond)


Handler = TypeVar("Handler")


def find_handler(handlers: Mapping[str, Handler], fields: codec.Fields) -> Handler:
    """Find the handler of a message."""
    handler = handlers.get(str(fields.get("verb")))
    if handler is None:
        raise BadRequestError(f"the index owner has no verb {fields.get('verb')!r}")
    return handler


def encode_response(respond: Callable[[], bytes]) -> bytes:
    """Result of a handler or an error frame; no exception leaves this function."""
    try:
        try:
            return respond()
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            logs.get_logger(__name__).warning("index.bad_message", error=repr(error))
            raise BadRequestError("not an index message", reason="bad_frame") from error
    except PinpointError as error:
        return codec.encode(codec.pack_error(error))
    except Exception:
        # The engine raises bare Exception for all failures: a full disk, or an invalid value.
        logs.get_logger(__name__).exception("index.verb_failed")
        failed = IndexUnavailableError(
            "the index engine failed; the log of the index contains the error",
            reason=ENGINE_FAILED,
        )
        return codec.encode(codec.pack_error(failed))
