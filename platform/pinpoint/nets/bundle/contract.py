"""The contract of a bundle: the schema of `contract.json`, its checks, parsing and writing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pinpoint import __version__
from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.nets.bundle.specs import (
    AggregationSpec,
    GeoClipNet,
    HeadsSpec,
    LocationSpec,
    RerankerSpec,
    WeightsSpec,
    embedding_width,
    feature_width,
)
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, RAW_CHANNEL

CONTRACT_FILE: Final = "contract.json"
CONTRACT_FORMAT: Final = 2
DESCRIPTOR_NAME: Final = "descriptor"

_MAX_CONTRACT_BYTES = 1_000_000
_STRICT = ConfigDict(extra="forbid")

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""No slash and no colon, so a name from a contract is never interpreted as a path or a URL."""
Argument = bool | int | float | str
Channel = Literal["image", "gps", "raw"]
Mean = Annotated[float, Field(ge=-10.0, le=10.0, allow_inf_nan=False)]
StandardDeviation = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Preprocess:
    """How an image becomes the input of a tower; part of the contract of its weights."""

    size_px: Annotated[int, Field(ge=8, le=4096)]
    """Side S of the square."""
    resize: Literal["shorter", "squash"]
    """`shorter`: keep proportions and center-crop a square; `squash`: scale both sides to S."""
    crop: Annotated[float, Field(ge=0.1, le=1.0, allow_inf_nan=False)] = 1.0
    """Share of the resized side that is kept; the image is scaled to `floor(S / crop)` first."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """Always antialiased."""
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    """Subtracted per channel, from values in [0, 1]."""
    std: tuple[StandardDeviation, StandardDeviation, StandardDeviation] = (1.0, 1.0, 1.0)
    """Divisor per channel."""


DESCRIPTOR_DIM: Final = 384
DESCRIPTOR_NOTE: Final = (
    "No trained weights: compares colors and layout only. It recognizes near-identical views in"
    " similar light and knows nothing about places; a confident-looking answer may be a look-alike."
)
DESCRIPTOR_PREPROCESS: Final = Preprocess(size_px=128, resize="squash", interpolation="bilinear")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TowerSpec:
    """A network, identified by its name in its library."""

    library: Literal["open_clip", "timm", "place_recognition", "pinpoint"]
    """`place_recognition`: a published network that Pinpoint implements itself."""
    name: Identifier
    arguments: dict[str, Argument] = Field(default_factory=dict)
    """Passed to the library; only arguments that define the network are allowed."""
    pretrained: Identifier | None = None
    """Tag that the weights were downloaded by; only the digest identifies the file."""

    @classmethod
    def parse(cls, text: str, *, pretrained: str | None = None, **arguments: Argument) -> TowerSpec:
        """Read `open_clip:ViT-B-32` or `timm:mobilenetv1_100`.

        Raises:
            BadBundleError: The text has another format.
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
            raise BadBundleError(
                f"tower {text!r} must be written open_clip:NAME or timm:NAME: "
                f"{_summarize_errors(error)}"
            ) from error

    def __str__(self) -> str:
        """The format that `parse` reads."""
        return f"{self.library}:{self.name}"


def parse_arguments(texts: Sequence[str]) -> dict[str, Argument]:
    """Read tower arguments written `NAME=VALUE`, such as `pad_type=same` or `img_size=320`.

    `true` and `false` are booleans, whole and decimal numbers are numbers, all else is text.
    Whether the tower takes the argument is checked where the tower is built.

    Raises:
        BadRequestError: One is written otherwise, or a name is given twice.
    """
    arguments: dict[str, Argument] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise BadRequestError(
                f"tower argument {text!r} must be written NAME=VALUE: pad_type=same"
            )
        if name in arguments:
            raise BadRequestError(f"tower argument {name} is given twice")
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
class CoordinatesSpec:
    """A list of coordinates of the bundle, which can be searched without a gallery."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.csv$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    count: Annotated[int, Field(ge=1, le=10_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TrainingNote:
    """Training data and validation metrics of trained weights."""

    data_fingerprint: Identifier
    """Fingerprint of rows, split and settings."""
    split: Annotated[str, Field(min_length=1, max_length=1_000)]
    """Description of the split between training and validation."""
    steps: Annotated[int, Field(ge=0)]
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """On the validation split."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class EmbeddingSpace:
    """The networks that map tower features and positions into one joint space."""

    image: HeadsSpec | GeoClipNet
    location: LocationSpec | GeoClipNet | None
    weights: WeightsSpec
    logit_scale: Annotated[float, Field(gt=0.0, le=1_000.0, allow_inf_nan=False)] | None = None
    """Factor of the cosines of images and positions in training, as in CLIP; not a calibration."""
    training: TrainingNote | None = None
    coordinates: CoordinatesSpec | None = None
    """Requires location encoder and logit scale; does not affect vectors."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RerankerPart:
    """The reranker of candidates in this space, and its evidence settings in training."""

    network: RerankerSpec
    weights: WeightsSpec
    evidence_radius_m: Annotated[float, Field(gt=0.0, le=100_000.0, allow_inf_nan=False)]
    """Maximum distance of evidence, in training and in serving."""
    evidence_per_kind: Annotated[int, Field(ge=0, le=64)]
    training: TrainingNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class BundleContract:
    """All of `contract.json`."""

    format: Literal[2] = CONTRACT_FORMAT
    name: Identifier
    tower: TowerSpec
    weights: WeightsSpec | None
    """None only for the descriptor."""
    preprocess: Preprocess
    dims: dict[Channel, Annotated[int, Field(ge=1, le=65_536)]]
    """Named vectors and their width; `gps` if and only if there is a location tower. `raw` is
    optional for a bundle with heads: the features that the heads read, at unit length."""
    normalization: Literal["l2"] = "l2"
    aggregation: AggregationSpec | None = None
    """If None, the library of the tower pools its last feature map or tokens."""
    heads: EmbeddingSpace | None = None
    """If None, the output of the tower is the image vector."""
    reranker: RerankerPart | None = None
    """Does not affect vectors: an index fits the bundle with and without it."""
    text: WeightsSpec | None = None
    """Text encoder of the tower, if its vectors are those of the images; no effect on these."""
    calibrated: Literal[False] = False
    """Always false: calibrations are separate files of the bundle."""
    note: Annotated[str, Field(min_length=1, max_length=1_000)]
    code_version: Annotated[str, Field(min_length=1, max_length=64)]


_TOWER = TypeAdapter(TowerSpec)
_BUNDLE = TypeAdapter(BundleContract)


def parse_contract(text: bytes, where: str) -> BundleContract:
    """Read `contract.json`.

    Args:
        text: Bytes of the file.
        where: Path of the file, for messages.

    Raises:
        BadBundleError: Invalid JSON, another format, an unknown or missing key, a value out of
            range, no image width, or contradictory networks and widths.
    """
    if len(text) > _MAX_CONTRACT_BYTES:
        raise BadBundleError(f"{where} has {len(text)} bytes; a contract has at most 1,000,000")
    _check_format(text, where)
    try:
        contract: BundleContract = _BUNDLE.validate_json(text)
    except ValidationError as error:
        raise BadBundleError(
            f"{where} is not a contract of this version: {_summarize_errors(error)}"
        ) from error
    if IMAGE_CHANNEL not in contract.dims:
        raise BadBundleError(f"{where} does not state the width of the image vector (dims.image)")
    if contract.weights is None or contract.tower.library == "pinpoint":
        raise BadBundleError(f"{where} must name a tower that has weights, and a weights file")
    if contract.heads is not None:
        _check_heads(contract.heads, contract, where)
    if contract.aggregation is not None:
        _check_aggregation(contract.aggregation, contract, where)
    _check_gps(contract, where)
    _check_raw(contract, where)
    _check_reranker(contract, where)
    return contract


def _check_format(text: bytes, where: str) -> None:
    """Check that a contract has the format of this version, if it states one.

    Raises:
        BadBundleError: It states another format.
    """
    try:
        document = json.loads(text)
    except ValueError:
        return  # The schema reports invalid JSON.
    stated = document.get("format", CONTRACT_FORMAT) if isinstance(document, dict) else None
    if stated is not None and stated != CONTRACT_FORMAT:
        raise BadBundleError(
            f"{where} has contract format {stated!r}; this version reads {CONTRACT_FORMAT}. Create "
            "the bundle again with `pinpoint bundles import` or `pinpoint train`"
        )


def _check_heads(heads: EmbeddingSpace, contract: BundleContract, where: str) -> None:
    """Check that all networks have the width of the space, and a separate file."""
    widths = [
        embedding_width(network) for network in (heads.image, heads.location) if network is not None
    ]
    if set(widths) != {contract.dims["image"]}:
        raise BadBundleError(f"{where}: dims.image is {contract.dims['image']}, heads say {widths}")
    if contract.weights and heads.weights.file == contract.weights.file:
        raise BadBundleError(f"{where}: tower and heads name the same file {heads.weights.file}")
    if heads.coordinates and (heads.location is None or heads.logit_scale is None):
        raise BadBundleError(
            f"{where}: a list of coordinates needs a location encoder and a logit scale"
        )


def _check_aggregation(spec: AggregationSpec, contract: BundleContract, where: str) -> None:
    """Check that the aggregation has the width that follows it, and a separate file."""
    heads = contract.heads
    reader, width = ("dims.image", contract.dims[IMAGE_CHANNEL])
    if heads is not None:
        reader, width = ("the width that the heads read", feature_width(heads.image))
    if spec.dim != width:
        raise BadBundleError(f"{where}: {reader} is {width}, the aggregation gives {spec.dim}")
    files = [part.weights for part in (contract, heads, contract.reranker) if part]
    if spec.weights and spec.weights.file in [weights.file for weights in files if weights]:
        raise BadBundleError(
            f"{where}: the aggregation names the file of another network, {spec.weights.file}"
        )


def _check_gps(contract: BundleContract, where: str) -> None:
    """Check that `dims.gps` exists if and only if there is a location tower, with its width."""
    located = contract.heads is not None and contract.heads.location is not None
    expected = contract.dims[IMAGE_CHANNEL] if located else None
    actual = contract.dims.get(GPS_CHANNEL)
    if actual != expected:
        raise BadBundleError(
            f"{where}: with {'a' if located else 'no'} location tower dims.gps must be "
            f"{expected or 'absent'}, not {actual or 'absent'}"
        )


def _check_raw(contract: BundleContract, where: str) -> None:
    """Check that `dims.raw`, if it exists, is the width of the features that the heads read."""
    stated = contract.dims.get(RAW_CHANNEL)
    if stated is None:
        return
    if contract.heads is None:
        raise BadBundleError(
            f"{where}: dims.raw must be absent, because without heads the image vector already "
            "consists of the tower's features"
        )
    expected = feature_width(contract.heads.image)
    if stated != expected:
        raise BadBundleError(f"{where}: the heads read {expected} features, dims.raw is {stated}")


def _check_reranker(contract: BundleContract, where: str) -> None:
    """Check that the reranker fits the vectors of this bundle and has a separate file."""
    part = contract.reranker
    if part is None:
        return
    if part.network.dim != contract.dims[IMAGE_CHANNEL]:
        raise BadBundleError(
            f"{where}: dims.image is {contract.dims[IMAGE_CHANNEL]}, the reranker reads vectors of "
            f"{part.network.dim}"
        )
    parts = [contract.weights, contract.heads.weights if contract.heads else None]
    if part.weights.file in [spec.file for spec in parts if spec]:
        raise BadBundleError(
            f"{where}: the reranker names the file of another network, {part.weights.file}"
        )


def new_contract(
    *, name: str, tower: TowerSpec, weights: WeightsSpec, preprocess: Preprocess, note: str
) -> BundleContract:
    """A new contract, without widths; the caller measures the widths and adds them.

    Raises:
        BadBundleError: The value of a field is invalid.
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
        raise BadBundleError(
            f"the name or note of the bundle is invalid: {_summarize_errors(error)}"
        ) from error


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


def _summarize_errors(error: ValidationError) -> str:
    """The first three validation errors in one line."""
    findings = [
        f"{'.'.join(str(part) for part in finding['loc']) or 'the file'}: {finding['msg']}"
        for finding in error.errors(include_url=False)
    ]
    more = f" (and {len(findings) - 3} more)" if len(findings) > 3 else ""
    return "; ".join(findings[:3]) + more
