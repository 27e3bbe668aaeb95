"""RPC handlers of an engine: a fixed list of verbs on one open build."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadRequestError, IndexUnavailableError, PinpointError
from pinpoint.fault_isolation import ENGINE_FAILED
from pinpoint.ports import VectorIndex
from pinpoint.records import IndexInfo, IndexSpec
from pinpoint.store.vectors.rpc import codec as wire

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


ResponseFrame = tuple[wire.Fields, Sequence[wire.Array]]


def handle_info(index: EngineState, _: wire.Fields, __: list[wire.Array]) -> ResponseFrame:
    """Handle the verb `info`."""
    return {"info": dataclasses.asdict(index.info())}, ()


def handle_ensure(index: EngineState, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    """Handle the verb `ensure`."""
    dims = {str(name): int(width) for name, width in fields["dims"].items()}
    if any(not 0 < width <= wire.MAX_WIDTH for width in dims.values()):
        raise BadRequestError(f"vector widths must be 1 to {wire.MAX_WIDTH}, not {dims}")
    installation = fields.get("installation")
    index.ensure(
        IndexSpec(
            contract=str(fields["contract"]),
            dims=dims,
            installation=None if installation is None else str(installation),
        )
    )
    return {}, ()


def _handle_upsert(
    index: OpenBuild, fields: wire.Fields, arrays: list[wire.Array]
) -> ResponseFrame:
    contract = fields.get("contract")
    index.upsert(wire.unpack_points(fields, arrays), None if contract is None else str(contract))
    return {}, ()


def _handle_delete(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    index.delete({UUID(bytes=point_id): int(version) for point_id, version in fields["versions"]})
    return {}, ()


def _handle_forget(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    index.forget([UUID(bytes=point_id) for point_id in fields["ids"]])
    return {}, ()


def _handle_search(
    index: OpenBuild, fields: wire.Fields, arrays: list[wire.Array]
) -> ResponseFrame:
    results = index.search(wire.unpack_queries(fields, arrays))
    return {"hits": [[wire.pack_hit(hit) for hit in hits] for hits in results]}, ()


def _handle_fetch(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    ids = [UUID(bytes=point_id) for point_id in fields["ids"]]
    return wire.pack_points(index.fetch(ids, vectors=bool(fields["vectors"])))


def _handle_scroll(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    after, organization = fields["after"], fields["organization"]
    rows = index.scroll(
        None if after is None else UUID(bytes=after),
        min(int(fields["limit"]), MAX_ROWS),
        None if organization is None else UUID(bytes=organization),
    )
    return {"rows": [[point_id.bytes, version, alive] for point_id, version, alive in rows]}, ()


def _handle_count(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    where = fields["filter"]
    return {"count": index.count(None if where is None else wire.unpack_filter(where))}, ()


def _handle_versions(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> ResponseFrame:
    stored = index.versions([UUID(bytes=point_id) for point_id in fields["ids"]])
    return {
        "rows": [[point_id.bytes, version, alive] for point_id, (version, alive) in stored.items()]
    }, ()


def _handle_flush(index: OpenBuild, _: wire.Fields, __: list[wire.Array]) -> ResponseFrame:
    index.flush()
    return {}, ()


HANDLERS: Final[
    Mapping[str, Callable[[OpenBuild, wire.Fields, list[wire.Array]], ResponseFrame]]
] = {
    "info": handle_info,
    "ensure": handle_ensure,
    "upsert": _handle_upsert,
    "delete": _handle_delete,
    "forget": _handle_forget,
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
        fields, arrays = wire.decode(frame)
        return wire.encode(*find_handler(HANDLERS, fields)(index, fields, arrays))

    return encode_response(respond)


Handler = TypeVar("Handler")


def find_handler(handlers: Mapping[str, Handler], fields: wire.Fields) -> Handler:
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
        return wire.encode(wire.pack_error(error))
    except Exception:
        # The engine raises bare Exception for all failures: a full disk, or an invalid value.
        logs.get_logger(__name__).exception("index.verb_failed")
        failed = IndexUnavailableError(
            "the index engine failed; the log of the index contains the error",
            reason=ENGINE_FAILED,
        )
        return wire.encode(wire.pack_error(failed))
