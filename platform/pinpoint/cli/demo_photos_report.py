"""The report of the demo on real photos: answer and ground truth, as a table and a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pinpoint.cli import output
from pinpoint.cli.demo_report import list_map_answers
from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.gazetteer import nearest_places
from pinpoint.records import Point
from pinpoint_client.transport import Json

PHOTO_DEMO_NOTE: Final = (
    "Gallery and held-out photos are of one folder: the figures hold for photos like these only. A "
    "photo can be located only if the gallery has images of its place."
)
PHOTO_COLUMNS: Final = (
    ">photo",
    "file",
    "ground truth (lat, lon °)",
    "near",
    "answer (lat, lon °)",
    ">error",
    ">nearest in gallery",
    ">radius",
    "ground truth",
    ">inliers",
    ">ms",
    "cited files",
)
NEAR_M: Final = 25.0
"""Two street views this close mostly show the same place."""
_RADIUS_SHARE: Final = "90%"
_MAX_CITED: Final = 2


def summarize_photo_demo(
    paths: Sequence[Path],
    ground_truths: Sequence[Point],
    gallery: Sequence[Point],
    answers: list[Json],
) -> Json:
    """Build the part of the `--json` document that depends on the answers.

    Args:
        paths: Files of the queries.
        ground_truths: Their positions.
        gallery: Positions of the gallery's images.
        answers: The API's answer to each query.
    """
    places = nearest_places(ground_truths)
    photos = [
        {
            **describe_query(path, ground_truth, answer),
            "nearest_place": f"{place.name}, {place.country}",
            "nearest_in_gallery_m": min(geodesic_m(ground_truth, point) for point in gallery),
        }
        for path, ground_truth, place, answer in zip(
            paths, ground_truths, places, answers, strict=True
        )
    ]
    covered = [photo for photo in photos if photo["nearest_in_gallery_m"] <= NEAR_M]
    notes = [PHOTO_DEMO_NOTE]
    if answers:
        notes += [answers[0]["bundle"]["note"], answers[0]["calibration_note"]]
    return {
        "photos": photos,
        "summary": {
            "photos": len(photos),
            "covered": len(covered),
            "within_25_m": _count_within(photos, NEAR_M),
            "covered_within_25_m": _count_within(covered, NEAR_M),
            "within_1_km": _count_within(photos, 1_000.0),
            "verified": sum(photo["verified"] for photo in photos),
            "verified_within_25_m": _count_within(
                [photo for photo in photos if photo["verified"]], NEAR_M
            ),
            "inside_radius": sum(photo["inside"] is True for photo in photos),
        },
        "bundle": answers[0]["bundle"] if answers else None,
        "ranker": answers[0]["ranker"] if answers else None,
        "notes": notes,
    }


def _count_within(photos: Sequence[Json], limit_m: float) -> int:
    return sum(photo["error_m"] is not None and photo["error_m"] <= limit_m for photo in photos)


def describe_query(path: Path, ground_truth: Point, answer: Json) -> Json:
    """Describe one photo: answer, ground truth, and the distance between them."""
    point, error_m, is_inside = answer["point"], None, None
    radii_m = {f"{disc['probability']:.0%}": disc["radius_m"] for disc in answer["credible_discs"]}
    if point is not None:
        error_m = geodesic_m(Point(lat=point["lat"], lon=point["lon"]), ground_truth)
        is_inside = error_m <= radii_m[_RADIUS_SHARE]
    cited = [image for images in answer["citations"].values() for image in images]
    compared = [*cited, *answer["candidates"]]
    inliers = [row["verification"]["inliers"] for row in compared if row["verification"]]
    return {
        "photo": str(path),
        "ground_truth": {"lat": ground_truth.lat, "lon": ground_truth.lon},
        "answer": point,
        "abstention_reason": answer["abstention_reason"],
        "error_m": error_m,
        "radius_m": radii_m,
        "inside": is_inside,
        "citations": [
            {name: image[name] for name in ("image_id", "file_name", "license", "similarity")}
            for image in cited
        ],
        "verified": answer["verified"],
        "inliers": max(inliers, default=None),
        "ms": answer["timings_ms"].get("total", sum(answer["timings_ms"].values())),
    }


def show_photo_demo(report: Json) -> None:
    """Print the table, an explanation of its columns, and commands to run next."""
    gallery, summary = report["gallery"], report["summary"]
    rows = [_to_table_row(number, photo) for number, photo in enumerate(report["photos"], start=1)]
    output.print_table(None, PHOTO_COLUMNS, rows)
    output.print_line(
        f"nearest in gallery: from the ground truth to the nearest image of the gallery; radius: "
        f"of the disc around the answer with {_RADIUS_SHARE} of the ranker's weights or of the "
        "probability; inliers: correspondences of local features with the best matching image"
    )
    output.print_line("")
    output.print_line(
        f"gallery: {gallery['images']} images in the source {gallery['source']!r}; "
        f"{gallery['held_out']} held out, {gallery['without_position']} without a position or "
        "unreadable"
    )
    output.print_line(
        f"located within {NEAR_M:.0f} m: {summary['within_25_m']} of {summary['photos']}, within "
        f"1 km: {summary['within_1_km']}; of the {summary['covered']} with a gallery image within "
        f"{NEAR_M:.0f} m: {summary['covered_within_25_m']} within {NEAR_M:.0f} m"
    )
    output.print_line(
        f"verified by local features: {summary['verified']}, of them within {NEAR_M:.0f} m: "
        f"{summary['verified_within_25_m']}"
    )
    for note in report["notes"]:
        output.print_line(note)
    output.print_line(f"map: {report['map']}")
    for photo in report["photos"]:
        if photo["match_picture"]:
            output.print_line(f"match: {photo['match_picture']}")
    output.print_line("")
    output.print_line(f"the API is at {report['server']}; next steps:")
    for command in report["try"]:
        output.print_line(f"  {command}")
    output.print_line("")
    output.print_line("this command removes the demo's stack with all its data:")
    output.print_line(f"  {report['remove']}")


def _to_table_row(number: int, photo: Json) -> tuple[str, ...]:
    answer, error_m, cited = photo["answer"], photo["error_m"], photo["citations"]
    radius_m = photo["radius_m"].get(_RADIUS_SHARE)
    return (
        str(number),
        Path(photo["photo"]).name,
        _format_position(photo["ground_truth"]),
        photo["nearest_place"],
        _format_position(answer) if answer else "no answer",
        "–" if error_m is None else output.format_length(error_m),
        output.format_length(photo["nearest_in_gallery_m"]),
        "–" if radius_m is None else output.format_length(radius_m),
        {True: "inside", False: "outside", None: "–"}[photo["inside"]],
        "–"
        if photo["inliers"] is None
        else f"{photo['inliers']}{' verified' if photo['verified'] else ''}",
        f"{photo['ms']:.0f}",
        ", ".join(image["file_name"] for image in cited[:_MAX_CITED])
        + (f" and {len(cited) - _MAX_CITED} more" if len(cited) > _MAX_CITED else ""),
    )


def _format_position(position: Json) -> str:
    return f"{position['lat']:.5f}, {position['lon']:.5f}"


def draw_photo_map(report: Json, gallery: Sequence[Point], path: Path) -> None:
    """Write a PNG map of the gallery, and of all queries with answers and ground truths."""
    from pinpoint.evaluation.report.maps import draw_answers

    summary, bundle = report["summary"], report["bundle"]
    title = (
        f"pinpoint demo: {summary['within_25_m']} of {summary['photos']} real photos located "
        f"within {NEAR_M:.0f} m"
    )
    bundle_text = f"bundle {bundle['name']}, ranker {report['ranker']}; " if bundle else ""
    caption = f"{bundle_text}radius: {_RADIUS_SHARE} of the weights or the probability"
    draw_answers(path, list_map_answers(report), title, caption, gallery=gallery)
