"""`pinpoint locate` and `pinpoint similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.explain import show_explanation
from pinpoint.cli.option_values import check_kinds, read_filters
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.client import Client
from pinpoint.errors import BadRequestError

SourceKindOption = Annotated[
    list[str], typer.Option("--kinds", help="Only this source kind; may be repeated.")
]
SourceOption = Annotated[
    list[str], typer.Option("--source", help="Only this source; may be repeated.")
]
CircleOption = Annotated[
    str | None, typer.Option("--near", help="Only within a circle: lat,lon,radius in meters.")
]
BoxOption = Annotated[
    str | None, typer.Option("--bbox", help="Only within a box: west,south,east,north.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Only taken at or after this time, ISO 8601.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", help="Only taken before this time, ISO 8601.")
]


_ABSTENTION_TEXTS: Final = {
    "not_in_gallery": "the gallery probably has no image near it",
    "outside_candidates": "probably near none of the candidates",
}


def register_commands(app: typer.Typer) -> None:
    """Register these commands."""
    app.command()(locate)
    app.command()(similar)


def locate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(help="Photos to locate.")],
    kind: Annotated[
        str | None, typer.Option("--kind", help="Kind of the photos: `photo` or `street`.")
    ] = None,
    top: Annotated[
        int,
        typer.Option("--top", min=1, max=100, help="Maximum number of candidates or coordinates."),
    ] = 10,
    search_coordinates: Annotated[
        bool,
        typer.Option(
            "--places", help="Search the coordinates of the bundle instead of the gallery."
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show rank changes by the ranker and its attention.")
    ] = False,
    kinds: SourceKindOption = [],  # noqa: B006
    source: SourceOption = [],  # noqa: B006
    near: CircleOption = None,
    bbox: BoxOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate where photos were taken, with evidence. The photos are not stored."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    filters = read_filters(kinds, [], near, bbox, since, until)
    check_kinds("--kind", [kind])
    search_space = "coordinates" if search_coordinates else None
    answers: list[dict[str, Any]] = []
    failed: BadRequestError | None = None
    with session.client() as client:
        filters["sources"] = [ids.find_source(client, name) for name in source]
        for photo in photos:
            answer, error = _locate_photo(
                client, photo, query_kind=kind, top=top, search_space=search_space, **filters
            )
            failed = failed or error
            answers.append({"photo": str(photo), "answer": answer, "error": _error_summary(error)})
            if not session.as_json and answer is not None:
                show_answer(str(photo), answer)
                if explain:
                    show_explanation(answer)
    if session.as_json:
        output.print_json({"answers": answers})
    if failed is not None:
        raise typer.Exit(EXIT_CODES[type(failed)])


def similar(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    photo: Annotated[Path | None, typer.Argument(help="A photo.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Id of a gallery image instead of a photo.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=200, help="Maximum number of groups.")
    ] = 20,
    per_group: Annotated[
        int, typer.Option("--per-group", min=1, max=20, help="Maximum number of images per group.")
    ] = 3,
    kinds: SourceKindOption = [],  # noqa: B006
    source: SourceOption = [],  # noqa: B006
    near: CircleOption = None,
    bbox: BoxOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find gallery images similar to a photo; each panorama or sequence forms one group."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    if (photo is None) == (image is None):
        raise BadRequestError("give either a photo or --image ID")
    filters = read_filters(kinds, [], near, bbox, since, until)
    with session.client() as client:
        filters["sources"] = [ids.find_source(client, name) for name in source]
        image = None if image is None else ids.find_image(client, image)
        result = client.similar(photo, image_id=image, limit=limit, per_group=per_group, **filters)
    if session.as_json:
        output.print_json(result)
        return
    rows = [
        (
            number if rank == 0 else "",
            f"{hit['score']:.3f}",
            hit["source_kind"],
            hit["file_name"],
            hit["source"],
            output.format_place(hit["nearest_place"]),
            f"{hit['lat']:.5f}, {hit['lon']:.5f}",
            hit["image_id"],
        )
        for number, group in enumerate(result["groups"], start=1)
        for rank, hit in enumerate(group["hits"])
    ]
    columns = (
        ">group",
        ">similarity",
        "source kind",
        "file",
        "source",
        "nearest place",
        "lat, lon (°)",
    )
    output.print_table(None, (*columns, "image"), rows)


def show_answer(photo: str, answer: dict[str, Any]) -> None:
    """Print an answer with its evidence."""
    point, listed = answer["point"], answer["ranker"] == "coordinates"
    if point is None:
        reason = (
            "no coordinate of the list matches the filters"
            if listed
            else "the gallery has no matching image"
        )
        output.print_line(f"{photo}: no answer: {reason}")
        return
    unit = " of the vote" if answer["ranker"] == "vote" else " of the weights"
    unit, calibrated = ("", "calibrated") if answer["calibrated"] else (unit, "not calibrated")
    discs = " · ".join(
        f"{disc['probability']:.0%}{unit} within {output.format_length(disc['radius_m'])}"
        for disc in answer["credible_discs"]
    )
    output.print_line(f"{photo}: {point['lat']:.5f}, {point['lon']:.5f}   {discs} ({calibrated})")
    _print_posterior(answer)
    rows = [
        (
            cited["role"],
            kind,
            cited["file_name"],
            ", ".join(dict.fromkeys(image["source"] for image in (cited, *cited["copies"]))),
            output.format_place(cited["nearest_place"]),
            f"{cited['distance_m']:.0f}",
            f"{cited['similarity']:.3f}",
            cited["license"],
            [image["image_id"] for image in (cited, *cited["copies"])],
        )
        for kind, citations in sorted(answer["citations"].items())
        for cited in citations
    ]
    columns = (
        "role",
        "source kind",
        "file",
        "source",
        "nearest place",
        ">distance m",
        ">similarity",
    )
    if listed:
        _print_coordinates(answer["coordinates"])
    else:
        output.print_table(None, (*columns, "license", "image"), rows)
    _print_channels(answer["candidates"])
    total_ms = answer["timings_ms"].get("total")
    duration = "" if total_ms is None else f"   {total_ms:.0f} ms"
    fallback = f" ({answer['ranker_fallback_reason']})" if answer["ranker_fallback_reason"] else ""
    output.print_line(
        f"bundle {answer['bundle']['name']}, ranker {answer['ranker']}{fallback}, "
        f"{'list' if listed else 'index'} {answer['index']['build']}{duration}"
    )
    output.print_line(answer["bundle"]["note"])
    for warning in answer["warnings"]:
        output.print_line(warning)


def _print_coordinates(coordinates: list[dict[str, Any]]) -> None:
    """Print the best matching coordinates of the bundle."""
    rows = [
        (rank, f"{row['weight']:.3f}", f"{row['score']:.3f}", f"{row['lat']:.5f}, {row['lon']:.5f}")
        for rank, row in enumerate(coordinates)
    ]
    output.print_table(None, (">rank", ">weight", ">similarity", "lat, lon (°)"), rows)


def _print_posterior(answer: dict[str, Any]) -> None:
    """Print the probabilities, and whether the point is only a guess."""
    if answer["abstention_reason"] is not None:
        output.print_line(
            f"no answer ({_ABSTENTION_TEXTS[answer['abstention_reason']]}); "
            "the point is the best guess"
        )
    posterior = answer["posterior"]
    if posterior is not None:
        radii = " · ".join(
            f"{disc['radius_km']:g} km {disc['probability']:.0%}"
            for disc in posterior["probability_within_km"]
        )
        regions = " · ".join(
            f"{region['probability']:.0%} in {region['area_km2']:,.0f} km²"
            for region in posterior["credible_regions"]
        )
        output.print_line(f"probability within {radii}; {regions}")
        names = [f"{place['name']} {place['probability']:.0%}" for place in posterior["names"]]
        output.print_line(" · ".join(names))


def _print_channels(candidates: list[dict[str, Any]]) -> None:
    """Print the channels of each candidate, if more than one channel was searched."""
    if not any("gps" in candidate["channels"] for candidate in candidates):
        return
    rows = [
        (
            candidate["rank"],
            candidate["source_kind"],
            candidate["file_name"],
            candidate["source"],
            output.format_place(candidate["nearest_place"]),
            f"{candidate['weight']:.3f}",
            *(_format_score(candidate["channels"].get(channel)) for channel in ("image", "gps")),
            candidate["image_id"],
        )
        for candidate in candidates
    ]
    columns = (">rank", "source kind", "file", "source", "nearest place", ">weight", ">by image")
    output.print_table(None, (*columns, ">by position", "image"), rows)


def _format_score(score: dict[str, Any] | None) -> str | None:
    """Format the similarity and rank of a candidate within one channel."""
    if score is None:
        return None
    rank = "not found" if score["rank"] is None else f"#{score['rank']}"
    return f"{score['score']:.3f} {rank}"


def _locate_photo(
    client: Client, photo: Path, **filters: Any
) -> tuple[dict[str, Any] | None, BadRequestError | None]:
    """Locate one photo; returns the answer or the error. Other errors end the command."""
    try:
        return client.locate(photo, **filters), None
    except BadRequestError as error:
        # The message may start with the file name; it is replaced by the full path.
        message = error.message.removeprefix(f"{photo.name}: ")
        output.warn(f"pinpoint: {message if str(photo) in message else f'{photo}: {message}'}")
        return None, error


def _error_summary(error: BadRequestError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.reason, "detail": error.message}
