"""The engine's side of the wire: a fixed list of verbs over one open build."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadRequest, IndexUnavailable, PinpointError
from pinpoint.ports import VectorIndex
from pinpoint.records import IndexInfo, IndexSpec
from pinpoint.store import vectors_wire as wire

MAX_ROWS: Final = 50_000
ENGINE_FAILED: Final = "index_engine_failed"
"""Reason of an engine that could not do what it was asked for: its disk, or what it was given."""


class OpenBuild(VectorIndex, Protocol):
    """A build as its engine has it open."""

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of what is stored under these ids, tombstones too."""
        ...

    def flush(self) -> None:
        """Make all writes durable."""
        ...


class Told(Protocol):
    """What the owner and an engine both say of the index."""

    def info(self) -> IndexInfo:
        """As `ports.VectorIndex`."""
        ...

    def ensure(self, spec: IndexSpec) -> None:
        """As `ports.VectorIndex`."""
        ...


Answer = tuple[wire.Fields, Sequence[wire.Array]]


def info_of(index: Told, _: wire.Fields, __: list[wire.Array]) -> Answer:
    """The verb `info`."""
    return {"info": dataclasses.asdict(index.info())}, ()


def ensure_by(index: Told, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    """The verb `ensure`."""
    dims = {str(name): int(width) for name, width in fields["dims"].items()}
    if any(not 0 < width <= wire.MAX_WIDTH for width in dims.values()):
        raise BadRequest(f"vector widths must be 1 to {wire.MAX_WIDTH}, not {dims}")
    installation = fields.get("installation")
    index.ensure(
        IndexSpec(
            contract=str(fields["contract"]),
            dims=dims,
            installation=None if installation is None else str(installation),
        )
    )
    return {}, ()


def _upsert(index: OpenBuild, fields: wire.Fields, arrays: list[wire.Array]) -> Answer:
    contract = fields.get("contract")
    index.upsert(wire.unpack_points(fields, arrays), None if contract is None else str(contract))
    return {}, ()


def _delete(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    index.delete({UUID(bytes=each): int(version) for each, version in fields["versions"]})
    return {}, ()


def _forget(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    index.forget([UUID(bytes=each) for each in fields["ids"]])
    return {}, ()


def _search(index: OpenBuild, fields: wire.Fields, arrays: list[wire.Array]) -> Answer:
    answers = index.search(wire.unpack_queries(fields, arrays))
    return {"hits": [[wire.pack_hit(hit) for hit in hits] for hits in answers]}, ()


def _fetch(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    ids = [UUID(bytes=each) for each in fields["ids"]]
    return wire.pack_points(index.fetch(ids, vectors=bool(fields["vectors"])))


def _scroll(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    after, organization = fields["after"], fields["organization"]
    rows = index.scroll(
        None if after is None else UUID(bytes=after),
        min(int(fields["limit"]), MAX_ROWS),
        None if organization is None else UUID(bytes=organization),
    )
    return {"rows": [[each.bytes, version, alive] for each, version, alive in rows]}, ()


def _count(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    where = fields["filter"]
    return {"count": index.count(None if where is None else wire.unpack_filter(where))}, ()


def _versions(index: OpenBuild, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    found = index.versions([UUID(bytes=each) for each in fields["ids"]])
    return {"rows": [[each.bytes, version, alive] for each, (version, alive) in found.items()]}, ()


def _flush(index: OpenBuild, _: wire.Fields, __: list[wire.Array]) -> Answer:
    index.flush()
    return {}, ()


VERBS: Final[Mapping[str, Callable[[OpenBuild, wire.Fields, list[wire.Array]], Answer]]] = {
    "info": info_of,
    "ensure": ensure_by,
    "upsert": _upsert,
    "delete": _delete,
    "forget": _forget,
    "search": _search,
    "fetch": _fetch,
    "scroll": _scroll,
    "count": _count,
    "versions": _versions,
    "flush": _flush,
}
"""What an engine answers."""


def answer(index: OpenBuild, frame: bytes) -> bytes:
    """Answer one frame by a build."""

    def called() -> bytes:
        fields, arrays = wire.decode(frame)
        return wire.encode(*named(VERBS, fields)(index, fields, arrays))

    return said(called)


Verb = TypeVar("Verb")


def named(verbs: Mapping[str, Verb], fields: wire.Fields) -> Verb:
    """The verb that a message asks for."""
    verb = verbs.get(str(fields.get("verb")))
    if verb is None:
        raise BadRequest(f"the index owner knows no verb {fields.get('verb')!r}")
    return verb


def said(called: Callable[[], bytes]) -> bytes:
    """What is called says, or an error frame: whatever goes wrong is never an exception."""
    try:
        try:
            return called()
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            logs.get(__name__).warning("index.bad_message", error=repr(error))
            raise BadRequest("not an index message", reason="bad_frame") from error
    except PinpointError as error:
        return wire.encode(wire.pack_error(error))
    except Exception:
        # The engine raises bare Exception for everything: a full disk, or a value it cannot take.
        logs.get(__name__).exception("index.verb_failed")
        failed = IndexUnavailable(
            "the index engine could not do it; the log of the index names the error",
            reason=ENGINE_FAILED,
        )
        return wire.encode(wire.pack_error(failed))
