"""What a bundle says of itself: `contract.json`, checked, and the digest that names its vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pinpoint import __version__
from pinpoint.errors import BadBundle, BadRequest
from pinpoint.nets.specs import GeoClipNet, HeadsSpec, LocationSpec, RerankerSpec, dim_of
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL

CONTRACT_FILE: Final = "contract.json"
DESCRIPTOR_NAME: Final = "descriptor"

_MAX_CONTRACT_BYTES = 1_000_000
_STRICT = ConfigDict(extra="forbid")

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""No slash and no colon: a name from a contract is never taken for a path or an address."""
Argument = bool | int | float | str
Channel = Literal["image", "gps"]
Mean = Annotated[float, Field(ge=-10.0, le=10.0, allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Preprocess:
    """How a picture becomes what a tower expects; part of the contract of its weights."""

    size_px: Annotated[int, Field(ge=8, le=4096)]
    """Side S of the square."""
    resize: Literal["shorter", "squash"]
    """`shorter`: keep proportions, cut the middle square; `squash`: scale both sides to S."""
    crop: Annotated[float, Field(ge=0.1, le=1.0, allow_inf_nan=False)] = 1.0
    """Share of the resized side that is kept; the picture is scaled to `floor(S / crop)` first."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """Always antialiased."""
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    """Subtracted per channel, from values in [0, 1]."""
    std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    """Divided by, per channel."""


DESCRIPTOR_DIM: Final = 384
DESCRIPTOR_NOTE: Final = (
    "No trained weights: compares colours and layout only. It recognises near-identical views in"
    " similar light and knows nothing about places; a confident-looking answer may be a look-alike."
)
DESCRIPTOR_PREPROCESS: Final = Preprocess(size_px=128, resize="squash", interpolation="bilinear")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TowerSpec:
    """Which network, by the name its library gives it."""

    library: Literal["open_clip", "timm", "pinpoint"]
    name: Word
    arguments: dict[str, Argument] = Field(default_factory=dict)
    """Passed to the library; only those that shape the network are allowed."""
    pretrained: Word | None = None
    """Tag the weights came from; says nothing about what is in the file, its digest does."""

    @classmethod
    def parse(cls, text: str, *, pretrained: str | None = None, **arguments: Argument) -> TowerSpec:
        """Read `open_clip:ViT-B-32` or `timm:mobilenetv1_100`.

        Raises:
            BadBundle: It is written otherwise.
        """
        library, _, name = text.partition(":")
        try:
            return _TOWER.validate_python(
                {
                    "library": library,
                    "name": name,
                    "pretrained": pretrained,
                    "arguments": arguments,
                }
            )
        except ValidationError as error:
            raise BadBundle(
                f"tower {text!r} must be written open_clip:NAME or timm:NAME: {_words(error)}"
            ) from error

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.library}:{self.name}"


def parse_arguments(texts: Sequence[str]) -> dict[str, Argument]:
    """Read tower arguments written `NAME=VALUE`, such as `pad_type=same` or `img_size=320`.

    `true` and `false` are booleans, whole and decimal numbers are numbers, all else is text.
    Whether the tower takes the argument is checked where the tower is built.

    Raises:
        BadRequest: One is written otherwise, or a name is given twice.
    """
    arguments: dict[str, Argument] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise BadRequest(f"tower argument {text!r} must be written NAME=VALUE: pad_type=same")
        if name in arguments:
            raise BadRequest(f"tower argument {name} is given twice")
        arguments[name] = _argument_value(value)
    return arguments


def _argument_value(text: str) -> Argument:
    """A boolean, a number or text."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]{1,9}\.[0-9]{1,9}", text):
        return float(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WeightsSpec:
    """One safetensors file beside the contract."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PlacesSpec:
    """A list of places beside the contract, which a bundle can answer with without a gallery."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.csv$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    count: Annotated[int, Field(ge=1, le=10_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TrainingNote:
    """What the networks behind the tower were trained on, and how far that brought them."""

    data: Word
    """Fingerprint of rows, split and settings."""
    split: Annotated[str, Field(min_length=1, max_length=1_000)]
    """How training and validation were kept apart, in words."""
    steps: Annotated[int, Field(ge=0)]
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """On the validation split."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Space:
    """The networks behind the tower, which bring pictures and places into one space."""

    image: HeadsSpec | GeoClipNet
    location: LocationSpec | GeoClipNet | None
    weights: WeightsSpec
    temperature: Annotated[float, Field(gt=0.0, le=1_000.0, allow_inf_nan=False)] | None = None
    """What cosines of pictures and places were multiplied by in training; no calibration."""
    training: TrainingNote | None = None
    places: PlacesSpec | None = None
    """Needs location tower and temperature; decides no vector of a picture or position."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RerankerPart:
    """The network that judges candidates of this space, and what it was shown in training."""

    network: RerankerSpec
    weights: WeightsSpec
    evidence_radius_m: Annotated[float, Field(gt=0.0, le=100_000.0, allow_inf_nan=False)]
    """How far evidence stood; it is gathered so in serving, too."""
    evidence_per_kind: Annotated[int, Field(ge=0, le=64)]
    training: TrainingNote | None = None


def _none_for_empty(given: object) -> object:
    """Contracts of earlier versions say `[]` where there is no network behind the tower."""
    return None if given in ([], ()) else given


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class BundleContract:
    """All of `contract.json`."""

    format: Literal[1] = 1
    name: Word
    tower: TowerSpec
    weights: WeightsSpec | None
    """None only for the descriptor, which has none."""
    preprocess: Preprocess
    dims: dict[Channel, Annotated[int, Field(ge=1, le=65_536)]]
    """Named vectors and their width; `gps` exactly where there is a location tower."""
    normalisation: Literal["l2"] = "l2"
    heads: Annotated[Space | None, BeforeValidator(_none_for_empty)] = None
    """Without them the tower's own vector is the image vector."""
    reranker: RerankerPart | None = None
    """Says nothing of vectors: an index fits a bundle with or without it."""
    calibrated: Literal[False] = False
    """Nothing in this code calibrates a bundle yet, so none may claim it."""
    note: Annotated[str, Field(min_length=1, max_length=1_000)]
    code_version: Annotated[str, Field(min_length=1, max_length=64)]


_TOWER = TypeAdapter(TowerSpec)
_BUNDLE = TypeAdapter(BundleContract)


def parse_contract(text: bytes, where: str) -> BundleContract:
    """Read `contract.json`.

    Args:
        text: The file's bytes.
        where: The file, for messages.

    Raises:
        BadBundle: Not JSON, an unknown or missing key, a value out of range, an image width absent,
            networks and widths that contradict each other.
    """
    if len(text) > _MAX_CONTRACT_BYTES:
        raise BadBundle(f"{where} has {len(text)} bytes; a contract has at most 1,000,000")
    try:
        contract: BundleContract = _BUNDLE.validate_json(text)
    except ValidationError as error:
        raise BadBundle(f"{where} is no contract this version reads: {_words(error)}") from error
    if IMAGE_CHANNEL not in contract.dims:
        raise BadBundle(f"{where} does not say how wide the image vector is (dims.image)")
    if contract.weights is None or contract.tower.library == "pinpoint":
        raise BadBundle(f"{where} must name a tower of open_clip or timm and a weights file")
    if contract.heads is not None:
        _check_heads(contract.heads, contract, where)
    _check_gps(contract, where)
    _check_reranker(contract, where)
    return contract


def _check_heads(heads: Space, contract: BundleContract, where: str) -> None:
    """One space has one width, and each network its own file."""
    widths = [dim_of(each) for each in (heads.image, heads.location) if each is not None]
    if set(widths) != {contract.dims["image"]}:
        raise BadBundle(f"{where}: dims.image is {contract.dims['image']}, heads say {widths}")
    if contract.weights and heads.weights.file == contract.weights.file:
        raise BadBundle(f"{where}: tower and heads name the same file {heads.weights.file}")
    if heads.places and (heads.location is None or heads.temperature is None):
        raise BadBundle(f"{where}: a list of places needs a location tower and a temperature")


def _check_gps(contract: BundleContract, where: str) -> None:
    """A vector of the position exactly where a location tower makes one, in the pictures' space."""
    located = contract.heads is not None and contract.heads.location is not None
    wanted = contract.dims[IMAGE_CHANNEL] if located else None
    given = contract.dims.get(GPS_CHANNEL)
    if given != wanted:
        raise BadBundle(
            f"{where}: with {'a' if located else 'no'} location tower dims.gps must be "
            f"{wanted or 'absent'}, not {given or 'absent'}"
        )


def _check_reranker(contract: BundleContract, where: str) -> None:
    """It reads the vectors of this bundle, and has a file of its own."""
    part = contract.reranker
    if part is None:
        return
    if part.network.dim != contract.dims[IMAGE_CHANNEL]:
        raise BadBundle(
            f"{where}: dims.image is {contract.dims[IMAGE_CHANNEL]}, the reranker reads vectors of "
            f"{part.network.dim}"
        )
    parts = [contract.weights, contract.heads.weights if contract.heads else None]
    if part.weights.file in [each.file for each in parts if each]:
        raise BadBundle(f"{where}: the reranker names a file of others, {part.weights.file}")


def new_contract(
    *, name: str, tower: TowerSpec, weights: WeightsSpec, preprocess: Preprocess, note: str
) -> BundleContract:
    """A contract of this version's making; its widths are filled in by whoever measures them.

    Raises:
        BadBundle: A field has no usable value.
    """
    try:
        return BundleContract(
            name=name,
            tower=tower,
            weights=weights,
            preprocess=preprocess,
            dims={},
            note=note,
            code_version=__version__,
        )
    except ValidationError as error:
        raise BadBundle(f"a bundle cannot be called or described so: {_words(error)}") from error


def contract_json(contract: BundleContract) -> bytes:
    """The text of `contract.json`."""
    return _BUNDLE.dump_json(contract, indent=2) + b"\n"


def descriptor_contract() -> BundleContract:
    """The contract of the descriptor, which needs no folder."""
    return BundleContract(
        name=DESCRIPTOR_NAME,
        tower=TowerSpec(library="pinpoint", name="descriptor-1"),
        weights=None,
        preprocess=DESCRIPTOR_PREPROCESS,
        dims={"image": DESCRIPTOR_DIM},
        note=DESCRIPTOR_NOTE,
        code_version=__version__,
    )


def _words(error: ValidationError) -> str:
    """The first few findings of pydantic in one line."""
    findings = [
        f"{'.'.join(str(part) for part in found['loc']) or 'the file'}: {found['msg']}"
        for found in error.errors(include_url=False)
    ]
    more = f" (and {len(findings) - 3} more)" if len(findings) > 3 else ""
    return "; ".join(findings[:3]) + more
