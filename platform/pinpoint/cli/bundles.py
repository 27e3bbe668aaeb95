"""`pinpoint bundles`: weights with their contract, on the machine of the stack."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.bundles_published import describe_missing, import_published, is_published
from pinpoint.cli.session import JsonOption, Session
from pinpoint.cli.tower_options import (
    AggregationOption,
    GemPowerOption,
    LayerOption,
    ResizeOption,
    SizeOption,
    TowerShape,
)
from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.settings import BUILT_IN_BUNDLE, Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.nets.bundle.bundles import Bundle
    from pinpoint.nets.bundle.contract import TowerSpec

app = typer.Typer(
    help="Manage bundles: weights with their preprocessing and metadata.", no_args_is_help=True
)

_COLUMNS: Final = ("name", "tower", ">dimensions", ">input px", ">MB", "license", "problem", "used")

GEOCLIP: Final = "geoclip"
"""The published bundle that `import` accepts by name; write `./geoclip` for a folder."""

BundleArgument = Annotated[
    str, typer.Argument(help="Name of a bundle in PINPOINT_HOME/bundles, or a folder.")
]
LicenseOption = Annotated[str, typer.Option("--license", help="License of the weights.")]
TowerArgumentOption = Annotated[
    list[str],
    typer.Option(
        "--tower-arg",
        metavar="NAME=VALUE",
        help="Argument for the library of the tower, such as `pad_type=same`; may be repeated.",
    ),
]
NoteOption = Annotated[
    str | None, typer.Option("--note", help="Known limits of the weights, shown with every answer.")
]


@app.command("list")
def list_bundles(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the bundles of this home and of the package, with their problems."""
    from pinpoint.nets.bundle.bundles import bundle_folders, descriptor_bundle, read_bundle

    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    rows = [_describe_bundle(descriptor_bundle(), settings)]
    # A bundle of the home has precedence over one of the package with its name.
    folders = {folder.name: folder for folder in reversed(bundle_folders(settings.services.home))}
    for _, folder in sorted(folders.items()):
        try:
            rows.append({**_describe_bundle(read_bundle(folder), settings), "name": folder.name})
        except BadBundleError as error:
            rows.append({"name": folder.name, "problem": error.message, "used": False})
    if session.as_json:
        output.print_json({"bundles": rows})
        return
    output.print_table(None, _COLUMNS, [_table_row(row) for row in rows])


@app.command("show")
def show(context: typer.Context, name: BundleArgument, as_json: JsonOption = False) -> None:
    """Show the inputs, outputs and metadata of a bundle."""
    from pinpoint.nets.bundle.bundles import find_bundle

    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    description = _describe_bundle(find_bundle(name, settings.services.home), settings)
    if session.as_json:
        output.print_json(description)
        return
    output.print_document(description)


@app.command("verify")
def verify(context: typer.Context, name: BundleArgument, as_json: JsonOption = False) -> None:
    """Check the digests of a bundle, load its networks and encode an image with its tower."""
    from pinpoint.nets.bundle.bundles import find_bundle
    from pinpoint.nets.bundle.checkpoint import load_tower
    from pinpoint.nets.embedder.coordinate_lists import load_coordinates
    from pinpoint.nets.embedder.joint_embedding import load_heads, load_location
    from pinpoint.nets.reranker.bundle_reranker import load_reranker

    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    bundle = find_bundle(name, settings.services.home)
    for load in (load_tower, load_heads, load_location, load_coordinates, load_reranker):
        load(bundle)
    description = _describe_bundle(bundle, settings)
    if session.as_json:
        output.print_json({**description, "verified": True})
        return
    output.print_line(
        f"{description['name']}: valid; {description['tower']} returns vectors of "
        f"{description['width']} dimensions"
    )


@app.command("import")
def import_(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    location: Annotated[
        str,
        typer.Argument(
            help="Folder of a bundle, a safetensors file, `geoclip`, or a published network: "
            "`megaloc`, `boq-dinov2`, `boq-resnet50`, `selavprplusplus-base`, "
            "`selavprplusplus-large`."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the new bundle; the folder of a bundle already has a name."
        ),
    ] = None,
    tower: Annotated[
        str | None,
        typer.Option("--tower", help="Tower of a weights file: `open_clip:NAME` or `timm:NAME`."),
    ] = None,
    tower_arguments: TowerArgumentOption = [],  # noqa: B006
    license: LicenseOption = "",
    aggregation: AggregationOption = None,
    layer: LayerOption = None,
    gem_power: GemPowerOption = None,
    size_px: SizeOption = None,
    resize: ResizeOption = None,
    note: NoteOption = None,
    clip_bundle: Annotated[
        str | None,
        typer.Option("--clip-bundle", help="For `geoclip`: the bundle of its CLIP tower."),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(
            "--wheel", help="For `geoclip`: its wheel file; the default is the installed package."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="For a published network: its weights file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import the folder of a bundle or a weights file into PINPOINT_HOME/bundles."""
    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    path = Path(location)
    shape = TowerShape(
        aggregation=aggregation, layer=layer, gem_power=gem_power, size_px=size_px, resize=resize
    )
    published = is_published(location)
    if (tower_arguments or shape != TowerShape()) and not (published or path.is_file()):
        raise BadRequestError(
            "--tower-arg, --aggregation, --layer, --gem-power, --size-px and --resize need a "
            "weights file; the folder of a bundle has its own contract"
        )
    if weights is not None and not published:
        raise BadRequestError("--weights is for a published network")
    if location == GEOCLIP:
        bundle = _import_geoclip(name or GEOCLIP, clip_bundle, wheel, settings)
    elif published:
        if license or tower or tower_arguments:
            raise BadRequestError(
                f"license and tower of {location} are known: leave --license, --tower and "
                "--tower-arg out"
            )
        folder = find_bundle_folder(name or location, settings)
        bundle = import_published(location, folder, weights, shape=shape, note=note)
    elif path.is_dir():
        bundle = _import_folder(path, name, settings)
    elif not path.is_file():
        raise BadRequestError(describe_missing(location))
    elif tower is None or name is None:
        raise BadRequestError("a weights file needs --tower, --name and --license")
    else:
        spec = _parse_tower(tower, None, tower_arguments)
        bundle = _write_bundle(
            name, spec, settings, license=license, note=note, weights=path, shape=shape
        )
    _print_bundle(session, bundle, settings)


@app.command("pull")
def pull(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    tower: Annotated[str, typer.Argument(help="Tower: `open_clip:NAME` or `timm:NAME`.")],
    tag: Annotated[str, typer.Option("--tag", help="Tag of the published weights of the tower.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new bundle.")],
    license: LicenseOption,
    tower_arguments: TowerArgumentOption = [],  # noqa: B006
    aggregation: AggregationOption = None,
    layer: LayerOption = None,
    gem_power: GemPowerOption = None,
    size_px: SizeOption = None,
    resize: ResizeOption = None,
    note: NoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download published weights with the library of their tower and store them as a bundle."""
    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    spec = _parse_tower(tower, tag, tower_arguments)
    shape = TowerShape(
        aggregation=aggregation, layer=layer, gem_power=gem_power, size_px=size_px, resize=resize
    )
    bundle = _write_bundle(name, spec, settings, license=license, note=note, shape=shape)
    _print_bundle(session, bundle, settings)


def _parse_tower(tower: str, tag: str | None, arguments: list[str]) -> TowerSpec:
    from pinpoint.nets.bundle.contract import TowerSpec, parse_arguments

    spec = TowerSpec.parse(tower, pretrained=tag)
    return replace(spec, arguments=parse_arguments(arguments))


def _write_bundle(
    name: str,
    tower: TowerSpec,
    settings: Settings,
    *,
    license: str,
    note: str | None,
    shape: TowerShape,
    weights: Path | None = None,
) -> Bundle:
    from pinpoint.nets.bundle.aggregated_bundles import pooled_aggregation, write_aggregated_bundle
    from pinpoint.nets.bundle.bundles import read_bundle, require_absent
    from pinpoint.nets.bundle.checkpoint import write_bundle

    if shape.aggregation is None and (shape.layer or shape.gem_power):
        raise BadRequestError("--layer and --gem-power need --aggregation")
    folder = find_bundle_folder(name, settings)
    require_absent(folder)
    with tempfile.TemporaryDirectory() as parent:
        written = write_bundle(
            folder if shape.aggregation is None else Path(parent) / name,
            name=name,
            tower=tower,
            license=license,
            weights=weights,
            preprocess=shape.change_preprocess(tower),
            note=note,
        )
        bundle = read_bundle(written)
        if shape.aggregation is not None:
            spec = pooled_aggregation(
                bundle, shape.aggregation, layer=shape.layer, gem_power=shape.gem_power
            )
            write_aggregated_bundle(
                folder, name=name, tower=bundle, spec=spec, tensors={}, note=bundle.contract.note
            )
    return read_bundle(folder)


def _import_geoclip(
    name: str, clip_bundle: str | None, source: Path | None, settings: Settings
) -> Bundle:
    from pinpoint.nets.bundle.bundles import find_bundle, read_bundle
    from pinpoint.nets.embedder.joint_embedding import write_geoclip

    if clip_bundle is None:
        raise BadRequestError(
            "GeoCLIP needs its CLIP tower: `pinpoint bundles pull "
            "open_clip:ViT-L-14-quickgelu --tag openai --name clip --license MIT`, then `pinpoint "
            "bundles import geoclip --clip-bundle clip`"
        )
    tower = find_bundle(clip_bundle, settings.services.home)
    return read_bundle(
        write_geoclip(find_bundle_folder(name, settings), name=name, tower=tower, source=source)
    )


def _import_folder(folder: Path, name: str | None, settings: Settings) -> Bundle:
    from pinpoint.nets.bundle.bundles import copy_bundle, read_bundle

    bundle_name = read_bundle(folder).contract.name
    if name not in (None, bundle_name):
        raise BadRequestError(f"the bundle in {folder} is called {bundle_name}; leave --name out")
    return copy_bundle(folder, find_bundle_folder(bundle_name, settings))


def find_bundle_folder(name: str, settings: Settings) -> Path:
    """Folder of a new bundle below the home.

    Raises:
        BadRequestError: The name is reserved or is not the name of a folder.
    """
    from pinpoint.nets.bundle.bundles import BUNDLES_FOLDER
    from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME

    if (
        name in (DESCRIPTOR_NAME, BUILT_IN_BUNDLE)
        or Path(name).name != name
        or name.startswith(".")
    ):
        raise BadRequestError(f"a bundle cannot be called {name!r}")
    return settings.services.home / BUNDLES_FOLDER / name


def _is_used(name: str, contract: str, settings: Settings) -> bool:
    """Whether the embedded index holds this bundle's vectors, or will hold them once it exists.

    A Qdrant server is not queried; for a server the settings decide.
    """
    from pinpoint.stack.paths import StackPaths

    live = StackPaths(settings.services.home).live_contract()
    return name == settings.encoder.bundle if live is None else contract == live


def _describe_bundle(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    from pinpoint.nets.bundle.digests import digest

    contract = bundle.contract
    networks = (contract.aggregation, contract.heads, contract.reranker)
    weight_files = [
        weights
        for weights in (contract.weights, *(network and network.weights for network in networks))
        if weights
    ]
    training = contract.heads.training if contract.heads else None
    contract_digest = digest(contract, settings.media.rendition_px)
    return {
        "name": contract.name,
        "tower": str(contract.tower),
        "tower_arguments": dict(contract.tower.arguments),
        "tag": contract.tower.pretrained,
        "width": contract.dims["image"],
        "input_px": contract.preprocess.size_px,
        "preprocess": asdict(contract.preprocess),
        "weights_sha256": {weights.file: weights.sha256 for weights in weight_files} or None,
        "weights_mb": round(sum(file.stat().st_size for file in bundle.files) / 1e6, 1),
        "license": " + ".join(dict.fromkeys(weights.license for weights in weight_files)) or None,
        "converted_from": asdict(contract.weights.converted_from)
        if contract.weights and contract.weights.converted_from
        else None,
        "aggregation": asdict(contract.aggregation) if contract.aggregation else None,
        "heads": asdict(contract.heads)["image"] if contract.heads else None,
        "location": asdict(contract.heads)["location"] if contract.heads else None,
        "coordinates": contract.heads.coordinates.count
        if contract.heads and contract.heads.coordinates
        else None,
        "training": asdict(training) if training else None,
        "reranker": asdict(contract.reranker) if contract.reranker else None,
        "calibrated": sorted(bundle.calibrations),
        "digest": contract_digest,
        "note": contract.note,
        "code_version": contract.code_version,
        "problem": None,
        "used": _is_used(contract.name, contract_digest, settings),
    }


def _table_row(description: dict[str, Any]) -> list[object]:
    keys = ("name", "tower", "width", "input_px", "weights_mb", "license", "problem")
    return [*(description.get(key) for key in keys), "yes" if description["used"] else ""]


def _print_bundle(session: Session, bundle: Bundle, settings: Settings) -> None:
    description = _describe_bundle(bundle, settings)
    if session.as_json:
        output.print_json(description)
        return
    output.print_line(
        f"bundle {description['name']}: {description['tower']}, {description['weights_mb']:g} MB"
    )
    output.print_line(
        "for a new index: export "
        f"PINPOINT_BUNDLE={description['name']}; pinpoint up; "
        f"for an existing index: pinpoint bundles activate {description['name']}"
    )
