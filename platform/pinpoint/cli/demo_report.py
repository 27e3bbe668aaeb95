"""The demo's report: answer and ground truth of each photo, as a table and a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pinpoint.cli import output
from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.gazetteer import City
from pinpoint.records import Point
from pinpoint.synthetic.cities import nearest_city
from pinpoint.synthetic.dataset import PlanetQuery
from pinpoint_client.transport import Json

if TYPE_CHECKING:
    from pinpoint.evaluation.report.maps import MapAnswer

BUNDLE: Final = "world-tiny"
DEMO_NOTE: Final = (
    "The planet is synthetic: generated scenes at the coordinates of real cities. The figures show "
    "that the pipeline works, not how well real photos are located."
)
NEW_STATES: Final = ("indexed", "updated")
LOST_STATES: Final = ("rejected", "failed")
REPORT_COLUMNS: Final = (
    ">photo",
    "query kind",
    "taken near",
    "answer (lat, lon °)",
    "near",
    ">error km",
    ">radius km",
    ">P(25 km)",
    "ground truth",
    ">ms",
    ">citations",
    "ids",
)
UNCALIBRATED_LABEL: Final = "uncalibrated"
_RADIUS_SHARE: Final = "90%"
_NEAR_KM: Final = "25"
_ID_DIGITS: Final = 8


def summarize_demo(
    server: str, ingested: list[Json], queries: list[PlanetQuery], answers: list[Json]
) -> Json:
    """Build the `--json` document, without the map and the commands to run next.

    Args:
        server: URL of the API.
        ingested: Counts of both sources.
        queries: The photos with their ground truth.
        answers: The API's answer to each photo.
    """
    photos = [describe_photo(query, answer) for query, answer in zip(queries, answers, strict=True)]
    errors_km = sorted(photo["error_km"] for photo in photos if photo["error_km"] is not None)
    within_1_km, within_25_km = (
        sum(error_km <= limit_km for error_km in errors_km) for limit_km in (1.0, 25.0)
    )
    notes = [DEMO_NOTE]
    if answers:
        notes += [answers[0]["bundle"]["note"], answers[0]["calibration_note"]]
    return {
        "server": server,
        "ingest": ingested,
        "photos": photos,
        "summary": {
            "photos": len(photos),
            "within_1_km": within_1_km,
            "within_25_km": within_25_km,
            "inside_radius": sum(photo["inside"] is True for photo in photos),
        },
        "bundle": answers[0]["bundle"] if answers else None,
        "ranker": answers[0]["ranker"] if answers else None,
        "notes": notes,
    }


def describe_photo(query: PlanetQuery, answer: Json) -> Json:
    """Describe one photo: answer, ground truth and the distance between them."""
    point, city, error_km, is_inside = None, None, None, None
    radii = {
        f"{disc['probability']:.0%}": disc["radius_m"] / 1_000 for disc in answer["credible_discs"]
    }
    if answer["point"] is not None:
        point = Point(lat=answer["point"]["lat"], lon=answer["point"]["lon"])
        city = _city_label(nearest_city(point))
        error_km = geodesic_m(point, query.point) / 1_000
        is_inside = error_km <= radii[_RADIUS_SHARE]
    posterior = answer["posterior"]
    cited = [image for images in answer["citations"].values() for image in images]
    return {
        "photo": str(query.path),
        "query_kind": query.kind,
        "ground_truth": {
            "lat": query.point.lat,
            "lon": query.point.lon,
            "nearest_city": _city_label(query.city),
        },
        "answer": point and {"lat": point.lat, "lon": point.lon, "nearest_city": city},
        "abstention_reason": answer["abstention_reason"],
        "error_km": error_km,
        "radius_km": radii,
        "inside": is_inside,
        "probability_within_km": posterior
        and {
            f"{disc['radius_km']:g}": disc["probability"]
            for disc in posterior["probability_within_km"]
        },
        "citations": [
            {
                name: image[name]
                for name in ("image_id", "source_kind", "source", "license", "distance_m")
            }
            for image in cited
        ],
        "ms": answer["timings_ms"].get("total", sum(answer["timings_ms"].values())),
    }


def _city_label(city: City) -> str:
    return f"{city.name}, {city.country}"


def show_demo(report: Json) -> None:
    """Print the table, an explanation of its columns, and commands to run next."""
    photos, summary = report["photos"], report["summary"]
    rows = [to_table_row(number, photo) for number, photo in enumerate(photos, start=1)]
    output.print_table(None, REPORT_COLUMNS, rows)
    calibrated = any(photo["probability_within_km"] for photo in photos)
    weight_name = "probability" if calibrated else "ranker's weights"
    output.print_line(
        f"radius: of the disc around the answer with {_RADIUS_SHARE} of the {weight_name}; "
        "ground truth: whether the true position is inside that disc"
    )
    output.print_line(
        f"P({_NEAR_KM} km): probability that the true position is within {_NEAR_KM} km of the "
        "answer, "
        f"{UNCALIBRATED_LABEL} if the bundle has no calibration"
    )
    if any(photo["answer"] and photo["abstention_reason"] for photo in photos):
        output.print_line(
            "a guess: the evidence is too weak for an answer, so only the best point is given"
        )
    output.print_line(
        f"ids: the first {_ID_DIGITS} digits of the cited image ids; --json prints full ids"
    )
    output.print_line("")
    new, duplicates, lost = (
        sum(counts[name] for counts in report["ingest"] for name in names)
        for names in (NEW_STATES, ("duplicate",), LOST_STATES)
    )
    output.print_line(f"ingested: {new} new, {duplicates} duplicates, {lost} rejected or failed")
    output.print_line(
        f"located within 1 km: {summary['within_1_km']} of {summary['photos']},"
        f" within 25 km: {summary['within_25_km']},"
        f" ground truth inside the radius: {summary['inside_radius']}"
    )
    for note in report["notes"]:
        output.print_line(note)
    output.print_line(f"map: {report['map']}")
    output.print_line("")
    output.print_line(
        f"the API is at {report['server']}, its routes at {report['server']}/openapi.json; "
        "next steps:"
    )
    for command in report["try"]:
        output.print_line(f"  {command}")
    if "remove" in report:
        output.print_line("")
        output.print_line(
            "the demo has its own home and stack; this command removes them with all their data:"
        )
        output.print_line(f"  {report['remove']}")


def to_table_row(number: int, line: Json) -> tuple[str, ...]:
    """Table cells of one photo."""
    answer, error_km = line["answer"], line["error_km"]
    guess = ", a guess" if answer and line["abstention_reason"] else ""
    radius_km, probabilities = line["radius_km"].get(_RADIUS_SHARE), line["probability_within_km"]
    probability = f"{probabilities[_NEAR_KM]:.0%}" if probabilities else UNCALIBRATED_LABEL
    cited = line["citations"]
    ids = [
        " ".join(
            [
                kind,
                *(
                    citation["image_id"][:_ID_DIGITS]
                    for citation in cited
                    if citation["source_kind"] == kind
                ),
            ]
        )
        for kind in sorted({citation["source_kind"] for citation in cited})
    ]
    return (
        str(number),
        line["query_kind"],
        line["ground_truth"]["nearest_city"],
        f"{answer['lat']:.4f}, {answer['lon']:.4f}" if answer else "no answer",
        f"{answer['nearest_city']}{guess}" if answer else "–",
        "–" if error_km is None else output.format_km(error_km * 1_000),
        "–" if radius_km is None else output.format_km(radius_km * 1_000),
        probability if answer else "–",
        {True: "inside", False: "outside", None: "–"}[line["inside"]],
        f"{line['ms']:.0f}",
        str(len(cited)),
        ", ".join(ids) or "–",
    )


def list_map_answers(report: Json) -> list[MapAnswer]:
    """Ground truth and answer of each photo of a demo's report, for its map."""
    from pinpoint.evaluation.report.maps import MapAnswer

    return [
        MapAnswer(
            ground_truth=_to_point(photo["ground_truth"]),
            answer=photo["answer"] and _to_point(photo["answer"]),
            inside=photo["inside"] is True,
            guess=photo["abstention_reason"] is not None,
        )
        for photo in report["photos"]
    ]


def draw_map(report: Json, path: Path) -> None:
    """Write a PNG map of all photos with their answers and ground truths."""
    from pinpoint.evaluation.report.maps import draw_answers
    from pinpoint.evaluation.report.plotting import NOT_THE_EARTH

    bundle, summary = report["bundle"], report["summary"]
    title = (
        f"pinpoint demo: {summary['within_25_km']} of {summary['photos']} photos located within "
        f"25 km ({NOT_THE_EARTH})"
    )
    weight_name = (
        "probability"
        if any(photo["probability_within_km"] for photo in report["photos"])
        else "weights"
    )
    radius_text = f"radius: {_RADIUS_SHARE} of the {weight_name}"
    bundle_text = f"bundle {bundle['name']}, ranker {report['ranker']}; " if bundle else ""
    draw_answers(path, list_map_answers(report), title, f"{bundle_text}{radius_text}")


def _to_point(position: Json) -> Point:
    return Point(lat=position["lat"], lon=position["lon"])
