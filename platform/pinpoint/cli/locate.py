"""`pinpoint locate`: positions of photos, with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.explain import show_explanation
from pinpoint.cli.filter_options import (
    BboxOption,
    CenterOption,
    DatetimeOption,
    RadiusOption,
    SourceFilterOption,
    SourceKindFilterOption,
    read_filter_options,
)
from pinpoint.cli.option_values import check_choice, check_kinds
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.client import Client
from pinpoint.errors import BadRequestError

_SEARCH_SPACES: Final = ("gallery", "coordinates")
_CHANNEL_HEADINGS: Final = {"image": ">by image", "gps": ">by position", "raw": ">by raw features"}
_ABSTENTION_TEXTS: Final = {
    "not_in_gallery": "the gallery probably has no image near it",
    "outside_candidates": "probably near none of the candidates",
}


app = typer.Typer()


@app.command()
def locate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(help="Photos to locate.")],
    query_kind: Annotated[
        str | None,
        typer.Option("--query-kind", help="Source kind of the photos: `photo` or `street`."),
    ] = None,
    top: Annotated[
        int,
        typer.Option("--top", min=1, max=100, help="Maximum number of candidates or coordinates."),
    ] = 10,
    search_space: Annotated[
        str,
        typer.Option(
            "--search-space",
            help="Search the `gallery`, or the `coordinates` that the bundle lists.",
        ),
    ] = "gallery",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Also show the changes of rank and the attention of the ranker."
        ),
    ] = False,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    in_source: SourceFilterOption = [],  # noqa: B006
    center: CenterOption = None,
    radius: RadiusOption = None,
    bbox: BboxOption = None,
    datetime: DatetimeOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate where photos were taken, with evidence; the photos are not stored."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    filters = read_filter_options(
        source_kinds=source_kind,
        sources=in_source,
        center=center,
        radius_m=radius,
        bbox=bbox,
        interval=datetime,
    )
    check_kinds("--query-kind", [query_kind])
    check_choice("--search-space", search_space, _SEARCH_SPACES)
    with session.client() as client:
        parameters = {
            **filters.to_parameters(client),
            "query_kind": query_kind,
            "top": top,
            "search_space": search_space,
        }
        _locate_photos(session, client, photos, parameters, explain=explain)


def _locate_photos(
    session: Session,
    client: Client,
    photos: list[Path],
    parameters: dict[str, Any],
    *,
    explain: bool,
) -> None:
    """Locate and print each photo; a photo that cannot be read does not stop the others.

    Raises:
        typer.Exit: A photo failed; with the exit code of the first failure.
    """
    answers: list[dict[str, Any]] = []
    failed: BadRequestError | None = None
    for photo in photos:
        answer, error = _locate_photo(client, photo, parameters)
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
    searched = {name for candidate in candidates for name in candidate["channels"]}
    if searched <= {"image"}:
        return
    headings = {name: text for name, text in _CHANNEL_HEADINGS.items() if name in searched}
    rows = [
        (
            candidate["rank"],
            candidate["source_kind"],
            candidate["file_name"],
            candidate["source"],
            output.format_place(candidate["nearest_place"]),
            f"{candidate['weight']:.3f}",
            *(_format_score(candidate["channels"].get(name)) for name in headings),
            candidate["image_id"],
        )
        for candidate in candidates
    ]
    columns = (">rank", "source kind", "file", "source", "nearest place", ">weight")
    output.print_table(None, (*columns, *headings.values(), "image"), rows)


def _format_score(score: dict[str, Any] | None) -> str | None:
    """Format the similarity and rank of a candidate within one channel."""
    if score is None:
        return None
    rank = "not found" if score["rank"] is None else f"#{score['rank']}"
    return f"{score['score']:.3f} {rank}"


def _locate_photo(
    client: Client, photo: Path, parameters: dict[str, Any]
) -> tuple[dict[str, Any] | None, BadRequestError | None]:
    """Locate one photo; returns the answer or the error. Other errors end the command."""
    try:
        return client.locate(photo, **parameters), None
    except BadRequestError as error:
        # The message may start with the file name; it is replaced by the full path.
        message = error.message.removeprefix(f"{photo.name}: ")
        output.warn(f"pinpoint: {message if str(photo) in message else f'{photo}: {message}'}")
        return None, error


def _error_summary(error: BadRequestError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.reason, "detail": error.message}
