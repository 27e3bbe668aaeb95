"""Reads the claim out of a manifest store, as the C2PA library writes it in JSON.

Everything in it may be hostile, even if a signature is valid: anyone can sign. Values of unexpected
types are ignored. Sources: C2PA Technical Specification 2.2, sections 15 (validation) and 18
(assertions); EXIF for XMP (CIPA DC-010); schema.org `CreativeWork` and `GeoCoordinates`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from pinpoint.media.c2pa.manifest_claim import MAX_CODES, MAX_SOURCE_TYPES, ManifestClaim
from pinpoint.media.metadata.positions import Position, choose_position, xmp_position
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, to_finite
from pinpoint.media.metadata.times import Clock, parse_time

MAX_STORE_CHARS: Final = 2_000_000
"""Maximum length of a manifest store as JSON; real ones have up to 100,000."""
MAX_PARENTS: Final = 8
"""Number of edits that are followed back to the manifest of the camera."""
MAX_MANIFESTS: Final = 64
"""Number of manifests whose actions are read."""
MAX_ITEMS: Final = 256
"""Number of assertions, actions or validation results that are read of each list."""

_METADATA_LABELS: Final = (
    "c2pa.metadata",
    "cawg.metadata",
    "stds.exif",
    "stds.iptc",
    "stds.schema-org.CreativeWork",
)
"""Assertions with a position or a time, in order of precedence."""
_TIME_KEYS: Final = (
    ("exif:DateTimeOriginal", "exif:OffsetTimeOriginal"),
    ("photoshop:DateCreated", None),
    ("xmp:CreateDate", None),
    ("dateCreated", None),
)
_PLACE_KEYS: Final = ("locationCreated", "contentLocation")
_IPTC_PLACE: Final = "Iptc4xmpExt:LocationCreated"
_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LABEL_SUFFIX: Final = re.compile(r"(?:\.v\d+)?(?:__\d+)?$")
_HASH_CODE: Final = re.compile(r"assertion\.(?:data|bmff|boxes)Hash\.(match|mismatch)")
_UNTRUSTED: Final = "signingCredential.untrusted"

Json = Mapping[str, Any]


def read_manifest_store(text: str, *, has_trust_list: bool) -> ManifestClaim:
    """The claim of a manifest store.

    Position and time are those of the active manifest, or of the next one in the chain of parents
    that has them: an editor's manifest often has neither.

    Args:
        text: JSON of the library's reader.
        has_trust_list: Whether a trust list is configured. Without one, nobody is trusted, and that
            the signer is not is no failure.

    Raises:
        ValueError: It is not such JSON.
    """
    try:
        store = _to_object(json.loads(text))
    except RecursionError as error:
        raise ValueError("the manifest is nested too deeply") from error
    chain = list(_walk_parents(store))
    if not chain:
        raise ValueError("the manifest store has no active manifest")
    signature = _to_object(chain[0].get("signature_info"))
    succeeded, failed = _read_results(store)
    if not has_trust_list:
        failed = [code for code in failed if code != _UNTRUSTED]
    metadata = [item for manifest in chain for item in _list_metadata(manifest)]
    position = _choose_position(metadata)
    time_source, clock = _choose_time(metadata, chain)
    captured_at = None if clock is None else (clock.instant or clock.wall)
    return ManifestClaim(
        state=_grade(store.get("validation_state"), has_trust_list),
        failure_codes=tuple(failed[:MAX_CODES]),
        data_hash_matches=_read_data_hash(succeeded, failed),
        generator=_read_generator(chain[0]),
        signer=clean_metadata_text(signature.get("common_name")),
        signer_organization=clean_metadata_text(signature.get("issuer")),
        signed_at=_parse_instant(signature.get("time")),
        digital_source_types=_list_source_types(store),
        lat=position.lat,
        lon=position.lon,
        position_source=position.name or None,
        position_note=clean_metadata_text(position.note),
        captured_at=captured_at and captured_at.replace(tzinfo=UTC),
        time_source=time_source,
        time_assumed_utc=clock is not None and clock.instant is None,
    )


def _grade(state: object, has_trust_list: bool) -> Literal["invalid", "valid", "trusted"]:
    if state == "Trusted" and has_trust_list:
        return "trusted"
    return "valid" if state in ("Valid", "Trusted") else "invalid"


def _walk_parents(store: Json) -> Iterator[Json]:
    """The active manifest, its parent, and so on; each one once."""
    manifests = _to_object(store.get("manifests"))
    label, visited = store.get("active_manifest"), set[str]()
    while isinstance(label, str) and label not in visited and len(visited) <= MAX_PARENTS:
        visited.add(label)
        manifest = _to_object(manifests.get(label))
        if manifest:
            yield manifest
        parents = (
            ingredient.get("active_manifest")
            for ingredient in _list_objects(manifest.get("ingredients"))
            if ingredient.get("relationship") == "parentOf"
        )
        label = next(parents, None)


def _read_results(store: Json) -> tuple[list[str], list[str]]:
    """Codes of successes of the active manifest, and of all failures; each one once."""
    results = _to_object(store.get("validation_results"))
    active = _to_object(results.get("activeManifest"))
    groups = [active.get("failure")]
    for delta in _list_objects(results.get("ingredientDeltas")):
        groups.append(_to_object(delta.get("validationDeltas")).get("failure"))
    failed = [code for group in groups for code in _list_codes(group)]
    return list(_list_codes(active.get("success"))), list(dict.fromkeys(failed))


def _list_codes(results: object) -> Iterator[str]:
    for result in _list_objects(results):
        code = result.get("code")
        if isinstance(code, str) and _CODE.fullmatch(code):
            yield code


def _read_data_hash(succeeded: Sequence[str], failed: Sequence[str]) -> bool | None:
    """Whether the hashes over the image match; None without one."""
    outcomes = {match[1] for code in (*succeeded, *failed) if (match := _HASH_CODE.fullmatch(code))}
    return "mismatch" not in outcomes if outcomes else None


def _read_generator(manifest: Json) -> str | None:
    info = next(_list_objects(manifest.get("claim_generator_info")), {})
    name = clean_metadata_text(info.get("name"))
    if name is None:
        return clean_metadata_text(manifest.get("claim_generator"))
    return clean_metadata_text(f"{name} {clean_metadata_text(info.get('version')) or ''}")


def _list_source_types(store: Json) -> tuple[str, ...]:
    """Digital source types of the actions of all manifests, without their vocabulary's address."""
    manifests = _to_object(store.get("manifests")).values()
    types: dict[str, None] = {}
    for manifest in islice(manifests, MAX_MANIFESTS):
        for action in _list_actions(_to_object(manifest)):
            value = action.get("digitalSourceType")
            name = value.rsplit("/", 1)[-1] if isinstance(value, str) else ""
            if _CODE.fullmatch(name):
                types[name] = None
    return tuple(islice(types, MAX_SOURCE_TYPES))


def _list_actions(manifest: Json) -> Iterator[Json]:
    for label, data in _list_assertions(manifest):
        if label == "c2pa.actions":
            yield from _list_objects(data.get("actions"))


def _list_assertions(manifest: Json) -> Iterator[tuple[str, Json]]:
    """Label without version and number, and data of each assertion."""
    for assertion in _list_objects(manifest.get("assertions")):
        label = assertion.get("label")
        if isinstance(label, str) and len(label) <= 64:
            yield _LABEL_SUFFIX.sub("", label), _to_object(assertion.get("data"))


def _list_metadata(manifest: Json) -> list[tuple[str, Json]]:
    """The assertions with metadata, in order of precedence."""
    items = [item for item in _list_assertions(manifest) if item[0] in _METADATA_LABELS]
    return sorted(items, key=lambda item: _METADATA_LABELS.index(item[0]))


def _choose_position(metadata: Sequence[tuple[str, Json]]) -> Position:
    """The first usable position, or the first one that is not, with its reason."""
    positions = [position for label, data in metadata for position in _list_positions(label, data)]
    return choose_position(positions)[0]


def _list_positions(label: str, data: Json) -> Iterator[Position]:
    places = data.get(_IPTC_PLACE)
    for block in (data, *_list_objects(places if isinstance(places, list) else [places])):
        yield _name_position(xmp_position(_select_texts(block)), label)
    for key in _PLACE_KEYS:
        places = data.get(key)
        for place in _list_objects(places if isinstance(places, list) else [places]):
            geo = _to_object(place.get("geo"))
            properties = {
                f"exif:GPS{axis.title()}": text
                for axis in ("latitude", "longitude")
                if (text := _to_text(geo.get(axis))) is not None
            }
            yield _name_position(xmp_position(properties), label)


def _name_position(position: Position, label: str) -> Position:
    return Position(
        name=label,
        lat=position.lat,
        lon=position.lon,
        note=position.note,
        partial=position.partial,
    )


def _choose_time(
    metadata: Sequence[tuple[str, Json]], chain: Sequence[Json]
) -> tuple[str | None, Clock | None]:
    """The first time of the metadata, else the time of the action that created the image."""
    for label, data in metadata:
        texts = _select_texts(data)
        for key, offset_key in _TIME_KEYS:
            text = texts.get(key)
            clock = parse_time(text, None, label)
            if clock is not None and clock.offset is None and offset_key in texts:
                clock = parse_time(f"{text}{texts[offset_key]}", None, label)
            if clock is not None:
                return label, clock
    for manifest in chain:
        for action in _list_actions(manifest):
            if action.get("action") == "c2pa.created":
                clock = parse_time(_to_text(action.get("when")), None, "when")
                if clock is not None:
                    return "c2pa.actions", clock
    return None, None


def _select_texts(data: Json) -> dict[str, str]:
    return {key: text for key in data if (text := _to_text(data[key])) is not None}


def _to_text(value: object) -> str | None:
    """A short text, or a number as text."""
    if isinstance(value, str):
        return clean_metadata_text(value)
    number = to_finite(value)
    return None if number is None else repr(number)


def _parse_instant(value: object) -> datetime | None:
    """A time with an offset (RFC 3339), UTC; None for anything else."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _to_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list_objects(value: object) -> Iterator[Json]:
    """The objects among the first items of a list."""
    items = value if isinstance(value, list) else []
    return (item for item in items[:MAX_ITEMS] if isinstance(item, dict))
