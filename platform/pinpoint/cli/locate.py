"""`pinpoint locate`: positions of photos, with evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.atomic_files import write_atomic
from pinpoint.cli import answer_layers, output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.claims import describe_claims
from pinpoint.cli.crop_option import CropOption, read_crops
from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.explain import show_explanation
from pinpoint.cli.filter_options import (
    AreaOption,
    BboxOption,
    CenterOption,
    CountryOption,
    DatetimeOption,
    RadiusOption,
    SourceFilterOption,
    SourceKindFilterOption,
    read_filter_options,
)
from pinpoint.cli.option_values import check_choice, check_kinds
from pinpoint.cli.session import (
    GeoJsonOption,
    JsonOption,
    KeyOption,
    OrganizationOption,
    ServerOption,
    Session,
)
from pinpoint.errors import BadRequestError, describe_cause

_SEARCH_SPACES: Final = ("gallery", "coordinates")
_CHANNEL_HEADINGS: Final = {"image": ">by image", "gps": ">by position", "raw": ">by raw features"}
_CITATION_COLUMNS: Final = (
    "role",
    "source kind",
    "file",
    "source",
    "nearest place",
    ">distance m",
    ">similarity",
    ">inliers",
    "license",
    "image",
)
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
    same_location: Annotated[
        bool,
        typer.Option(
            "--same-location",
            help="The photos show one location: they are one query with one answer.",
        ),
    ] = False,
    crop: CropOption = [],  # noqa: B006
    verify: Annotated[
        int | None,
        typer.Option(
            "--verify",
            min=0,
            max=64,
            help="Number of candidates compared with the photo by local features; 0 disables it. "
            "Default: `PINPOINT_SEARCH_VERIFY_CANDIDATES`.",
        ),
    ] = None,
    matches: Annotated[
        Path | None,
        typer.Option(
            "--matches",
            metavar="FILE.png",
            help="Write the match picture: the photo next to the gallery image that matches best.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also show the changes of rank, the attention of the ranker, and dropped images.",
        ),
    ] = False,
    as_geojson: GeoJsonOption = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep the answer, without the photo, until it expires; needs "
            "`PINPOINT_SEARCH_KEPT_QUERY_RETENTION_DAYS`.",
        ),
    ] = False,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    in_source: SourceFilterOption = [],  # noqa: B006
    center: CenterOption = None,
    radius: RadiusOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    country: CountryOption = [],  # noqa: B006
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
        area=area,
        interval=datetime,
    )
    check_kinds("--query-kind", [query_kind])
    check_choice("--search-space", search_space, _SEARCH_SPACES)
    crops = read_crops(crop, len(photos))
    queries = (
        [LocateQuery(photos, crops)]
        if same_location
        else [LocateQuery([photo], crops[i : i + 1]) for i, photo in enumerate(photos)]
    )
    if matches is not None and len(queries) > 1:
        raise BadRequestError("--matches writes one match picture, so it needs one query")
    if as_geojson and (session.as_json or explain):
        raise BadRequestError("--geojson cannot be combined with --json or --explain")
    with session.client() as client:
        parameters = {
            **filters.to_parameters(client),
            "country": country,
            "query_kind": query_kind,
            "top": top,
            "search_space": search_space,
            "verify": verify,
            "include": ["explain"] if explain else [],
        }
        answer_parameters = {**parameters, "keep": keep or None, "geojson": as_geojson}
        answers, failed = _locate_queries(session, client, queries, answer_parameters, explain)
        if matches is not None:
            _write_match_picture(matches, client.match_picture(photos, **parameters, crop=crops))
    if as_geojson:
        output.print_json(answer_layers.merge_answers(answers))
    elif session.as_json:
        output.print_json({"answers": answers})
    if failed is not None:
        raise typer.Exit(EXIT_CODES[type(failed)])


def _write_match_picture(path: Path, png: bytes) -> None:
    """Write the match picture.

    Raises:
        BadRequestError: The file cannot be written.
    """
    try:
        write_atomic(path, png, durable=False)
    except OSError as error:
        raise BadRequestError(f"{path} cannot be written: {describe_cause(error)}") from error
    output.warn(f"pinpoint: match picture in {path}")


@dataclass(frozen=True, slots=True)
class LocateQuery:
    """The photos of one query and their crops."""

    photos: list[Path]
    crops: list[str]
    """One for each photo, or none."""

    @property
    def name(self) -> str:
        """Paths of the photos."""
        return ", ".join(map(str, self.photos))


def _locate_queries(
    session: Session,
    client: ApiClient,
    queries: list[LocateQuery],
    parameters: dict[str, Any],
    explain: bool,
) -> tuple[list[dict[str, Any]], BadRequestError | None]:
    """Answer each query; a photo that cannot be read does not stop the others.

    Returns:
        The answers, which are printed if they are not to be written as JSON, and the first failure.
    """
    answers: list[dict[str, Any]] = []
    failed: BadRequestError | None = None
    for query in queries:
        answer, error = _locate_query(client, query, parameters)
        failed = failed or error
        answers.append(
            {
                "photos": [str(photo) for photo in query.photos],
                "answer": answer,
                "error": _error_summary(error),
            }
        )
        if answer is not None and not (session.as_json or parameters["geojson"]):
            show_answer(query.name, answer)
            if explain:
                show_explanation(answer)
    return answers, failed


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
    _print_verification(answer)
    rows = [
        (
            cited["role"],
            kind,
            cited["file_name"],
            ", ".join(dict.fromkeys(image["source"] for image in (cited, *cited["copies"]))),
            output.format_place(cited["nearest_place"]),
            f"{cited['distance_m']:.0f}",
            f"{cited['similarity']:.3f}",
            _format_verification(cited["verification"]),
            cited["license"],
            [image["image_id"] for image in (cited, *cited["copies"])],
        )
        for kind, citations in sorted(answer["citations"].items())
        for cited in citations
    ]
    if listed:
        _print_coordinates(answer["coordinates"])
    else:
        output.print_table(None, _CITATION_COLUMNS, rows)
    _print_channels(answer["candidates"])
    total_ms = answer["timings_ms"].get("total")
    duration = "" if total_ms is None else f"   {total_ms:.0f} ms"
    fallback = f" ({answer['ranker_fallback_reason']})" if answer["ranker_fallback_reason"] else ""
    output.print_line(
        f"bundle {answer['bundle']['name']}, ranker {answer['ranker']}{fallback}, "
        f"{'list' if listed else 'index'} {answer['index']['build']}{duration}"
    )
    output.print_line(answer["bundle"]["note"])
    if answer["kept_query"] is not None:
        kept_query = answer["kept_query"]
        output.print_line(f"kept as {kept_query['id']} until {kept_query['expires_at'][:16]}")
    for warning in answer["warnings"]:
        output.print_line(warning)
    for line in describe_claims(answer["claims"]):
        output.print_line(line)


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


def _print_verification(answer: dict[str, Any]) -> None:
    """Print whether a cited image is verified, and by which threshold."""
    threshold = answer["verification_threshold"]
    if threshold is None:
        return
    if threshold["false_match_rate"] is not None:
        basis = f"false-match rate {threshold['false_match_rate']:.2g} on this gallery"
    else:
        basis = "default threshold, not calibrated on this gallery"
    result = "verified" if answer["verified"] else "not verified"
    output.print_line(f"{result}: {threshold['min_inliers']} inliers or more ({basis})")


def _format_verification(verification: dict[str, Any] | None) -> str | None:
    """Format the inliers of an image, or the reason why it was not compared."""
    if verification is None:
        return None
    if verification["status"] in ("image_unavailable", "time_budget_used"):
        return str(verification["status"]).replace("_", " ")
    return f"{verification['inliers']}{' verified' if verification['verified'] else ''}"


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


def _locate_query(
    client: ApiClient, query: LocateQuery, parameters: dict[str, Any]
) -> tuple[dict[str, Any] | None, BadRequestError | None]:
    """Answer one query; returns the answer or the error. Other errors end the command."""
    try:
        return client.locate(query.photos, **parameters, crop=query.crops), None
    except BadRequestError as error:
        message = error.message
        if len(query.photos) == 1:
            # The message may start with the file name; it is replaced by the full path.
            message = message.removeprefix(f"{query.photos[0].name}: ")
            message = message if query.name in message else f"{query.name}: {message}"
        output.warn(f"pinpoint: {message}")
        return None, error


def _error_summary(error: BadRequestError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.reason, "detail": error.message}
