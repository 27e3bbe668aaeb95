"""Geometric verification in the search flow: real files, database, index, decoder and matcher."""

from __future__ import annotations

import dataclasses
import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from pinpoint.deadline import Deadline, apply_deadline
from pinpoint.records import (
    DEFAULT_MIN_INLIERS,
    Crop,
    MetadataOverride,
    SearchFilter,
    VerificationThreshold,
)
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.search.verifier import order_matches
from scenes import SIZE, other_view, save_scene, scene
from stack_fixtures import ServiceHarness, degrees


def ingest_scenes(harness, folder):
    """Six scenes, far from each other, in a source with stored originals."""
    folder.mkdir()
    for seed in range(6):
        (folder / f"scene-{seed}.jpg").write_bytes(save_scene(scene(seed), lat=40.0 + seed))
    harness.org = harness.organization()
    with harness.operator.write(harness.org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    harness.ingest(folder, harness.org)
    return harness


@pytest.fixture
def own_gallery(harness, tmp_path):
    """The scenes for one test that changes them, or that needs an empty feature cache."""
    return ingest_scenes(harness, tmp_path / "in")


@pytest.fixture(scope="module")
def _scenes(postgres, server_paths, tmp_path_factory):
    name = f"v_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    folder = tmp_path_factory.mktemp("scenes")
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), folder / "harness"
    )
    try:
        yield ingest_scenes(harness, folder / "in")
    finally:
        harness.close()
        postgres.drop(name)


@pytest.fixture
def gallery(_scenes):
    """The scenes of all tests that only search in them, with the default threshold."""
    _scenes.threshold = VerificationThreshold()
    return _scenes


def locate(harness, *photos, organization=None, **changes):
    context = harness.search_context(
        organization or harness.org, verifier=harness.verifier, **changes
    )
    queries = [
        photo if isinstance(photo, QueryPhoto) else QueryPhoto(data=photo, file="q.jpg")
        for photo in photos
    ]
    return pipeline.locate(queries, SearchFilter(), context)


def by_name(harness, answer):
    """Verifications by file name."""
    with harness.database.read(harness.org) as catalog:
        names = catalog.images(list(answer.matches))
    return {
        names[image_id].file_name: match.verification for image_id, match in answer.matches.items()
    }


def comparable(answer):
    with np.printoptions(threshold=0):
        return repr(dataclasses.replace(answer, timings_ms={}, matches={})) + repr(
            sorted(
                (id_.hex, m.verification, m.match and m.match.query_points.tolist())
                for id_, m in answer.matches.items()
            )
        )


def test_locate_verifies_the_scene_and_no_other(gallery):
    answer = locate(gallery, save_scene(other_view(scene(2))))
    verifications = by_name(gallery, answer)
    assert len(verifications) == 6
    assert verifications.pop("scene-2.jpg").verified
    assert not any(entry.verified for entry in verifications.values())
    assert answer.verified is True
    assert answer.verification_threshold == VerificationThreshold()
    assert answer.calibrated_result.features.verified is True
    best = order_matches(answer.matches)[0]
    match = answer.matches[best]
    assert answer.calibrated_result.features.max_inliers == match.verification.inliers
    assert match.verification.inliers >= DEFAULT_MIN_INLIERS
    assert match.query_size_px == match.image_size_px == SIZE
    assert match.match.query_points.shape == (match.verification.inliers, 2)
    # The view differs by a few pixels only, so each pair of points is close.
    distances = np.abs(match.match.query_points - match.match.image_points)
    assert distances.max() < 30
    assert {"verify"} <= set(answer.timings_ms)


def test_locate_unknown_scene_is_not_verified(gallery):
    answer = locate(gallery, save_scene(scene(77)))
    assert answer.verified is False
    assert {entry.status for entry in by_name(gallery, answer).values()} == {"not_matched"}
    assert answer.calibrated_result.features.verified is False


def test_locate_rotated_copy_verifies_and_mirrored_one_does_not(gallery):
    rotated = locate(gallery, save_scene(scene(3).rotate(90, expand=True)))
    mirrored = locate(gallery, save_scene(ImageOps.mirror(scene(3))))
    assert by_name(gallery, rotated)["scene-3.jpg"].verified
    assert not by_name(gallery, mirrored)["scene-3.jpg"].verified


def test_locate_with_verification_is_deterministic_cold_warm_and_concurrently(own_gallery):
    photo = save_scene(other_view(scene(1)))
    cold = comparable(locate(own_gallery, photo))
    assert comparable(locate(own_gallery, photo)) == cold
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: comparable(locate(own_gallery, photo)), range(8)))
    assert set(answers) == {cold}


@pytest.mark.parametrize("size", [(1, 1), (64, 64)])
def test_locate_photo_without_texture_has_status(gallery, size):
    answer = locate(gallery, save_scene(Image.new("RGB", size, (120, 130, 140))))
    assert answer.verified is False
    assert {entry.status for entry in by_name(gallery, answer).values()} == {"no_texture"}


def test_locate_photo_of_100_megapixels_is_verified(gallery):
    large = scene(4).resize((11_600, 8_800), Image.Resampling.BICUBIC)
    answer = locate(gallery, save_scene(large))
    assert by_name(gallery, answer)["scene-4.jpg"].verified


def test_locate_missing_and_changed_originals_are_reported(own_gallery):
    blobs = sorted(path for path in (own_gallery.folder / "blobs").rglob("*") if path.is_file())
    blobs[0].unlink()
    blobs[1].write_bytes(b"damaged")
    blobs[2].write_bytes(save_scene(scene(99), lat=1.0))
    answer = locate(own_gallery, save_scene(scene(2)))
    statuses = [entry.status for entry in by_name(own_gallery, answer).values()]
    # The third is a readable image: a blob of one face is trusted as a rendition.
    assert statuses.count("image_unavailable") == 2
    assert answer.point is not None


def test_locate_changed_referenced_original_is_unavailable(harness, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(2):
        (folder / f"scene-{seed}.jpg").write_bytes(save_scene(scene(seed), lat=40.0 + seed))
    harness.org = harness.organization()
    with harness.operator.write(harness.org) as catalog:
        catalog.add_source("photos", "photo", originals="reference")
    harness.ingest(folder, harness.org)
    (folder / "scene-0.jpg").write_bytes(save_scene(scene(5), lat=40.0))
    verifications = by_name(harness, locate(harness, save_scene(scene(1))))
    assert verifications["scene-0.jpg"].status == "image_unavailable"
    assert verifications["scene-1.jpg"].verified


@pytest.mark.parametrize("policy", ["reference", "copy", "rendition"])
def test_locate_verifies_faces_of_panoramas_for_every_policy(harness, tmp_path, policy):
    wide = Image.new("RGB", (1_680, 840), (128, 128, 128))
    for number in range(4):
        wide.paste(scene(20 + number), (number * 420, 260))
    folder = tmp_path / "in"
    folder.mkdir()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        'GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
    )
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: degrees(40.0), 3: "E", 4: degrees(10.0)}
    wide.save(folder / "pano.jpg", quality=92, exif=exif, xmp=packet.encode())
    harness.org = harness.organization()
    with harness.operator.write(harness.org) as catalog:
        catalog.add_source("photos", "street", originals=policy)
    harness.ingest(folder, harness.org, kind="street")
    faces = harness.components.decoder.read("p", str(folder / "pano.jpg"), MetadataOverride())
    face = next(entry for entry in faces.faces if entry.name == "right")
    answer = locate(harness, save_scene(Image.fromarray(face.pixels)))
    with harness.database.read(harness.org) as catalog:
        names = {
            image.cubemap_face: answer.matches[image.id].verification
            for image in catalog.images(list(answer.matches)).values()
        }
    assert set(names) <= {"front", "right", "back", "left"}
    assert names["right"].verified
    assert {name for name, entry in names.items() if entry.verified} == {"right"}


def test_locate_without_remaining_time_reports_images_and_answers(gallery):
    photo = save_scene(scene(2))
    reference = locate(gallery, photo)

    class SpentDeadline(Deadline):
        """Has time for the database, and none for verification."""

        def remaining_s(self):
            return 1e-6 if self.is_verifying else 30.0

        is_verifying = False

    context = gallery.search_context(gallery.org, verifier=gallery.verifier)
    deadline = SpentDeadline(30.0)
    verification = gallery.verifier.open_query([np.asarray(scene(2))], gallery.org)
    with gallery.database.read(gallery.org) as catalog:
        images = catalog.images(list(reference.matches))
    with apply_deadline(deadline):
        deadline.is_verifying = True
        verification.verify(images)
        deadline.is_verifying = False
        answer = pipeline.locate(QueryPhoto(data=photo, file="q.jpg"), SearchFilter(), context)
    statuses = {match.verification.status for match in verification.matches.values()}
    assert statuses == {"time_budget_used"}
    assert answer.point == reference.point


def test_locate_verify_candidates_0_does_not_compare(gallery):
    settings = gallery.settings.search.model_copy(update={"verify_candidates": 0})
    answer = locate(gallery, save_scene(scene(2)), settings=settings)
    assert (dict(answer.matches), answer.verification_threshold) == ({}, None)
    assert "verify" not in answer.timings_ms
    assert answer.calibrated_result.features.verified is None


def test_locate_compares_the_best_candidates_and_the_cited_images(gallery):
    settings = gallery.settings.search.model_copy(
        update={"verify_candidates": 1, "max_citations": 3}
    )
    answer = locate(gallery, save_scene(scene(2)), settings=settings)
    expected = {answer.ranked[0].candidate.id} | {cited.image_id for cited in answer.citations}
    assert set(answer.matches) == expected


def test_locate_reorders_only_if_the_threshold_says_so(gallery):
    # A query that resembles another scene by its colors, with a detail of scene 2.
    mixed = scene(5).copy()
    mixed.paste(scene(2).crop((0, 0, 200, 320)), (0, 0))
    plain = locate(gallery, save_scene(mixed))
    gallery.threshold = VerificationThreshold(min_inliers=10_000)
    unverified = locate(gallery, save_scene(mixed))
    assert [e.candidate.id for e in plain.ranked] == [e.candidate.id for e in unverified.ranked]
    gallery.threshold = VerificationThreshold(reorders_candidates=True)
    reordered = locate(gallery, save_scene(mixed))
    inliers = {id_: match.verification for id_, match in reordered.matches.items()}
    order = [inliers[entry.candidate.id] for entry in reordered.ranked]
    verified = [entry.inliers for entry in order if entry.verified]
    assert verified
    assert [entry.verified for entry in order] == sorted(
        (entry.verified for entry in order), reverse=True
    )
    assert verified == sorted(verified, reverse=True)
    assert [e.weight for e in reordered.ranked] == [e.weight for e in plain.ranked]


def test_verification_uses_images_of_the_organization_only(gallery, tmp_path):
    other = gallery.organization("other")
    with gallery.operator.write(other) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "theirs.jpg").write_bytes(save_scene(scene(2), lat=42.0))
    gallery.ingest(folder, other)
    ours, theirs = (
        locate(gallery, save_scene(scene(2))),
        locate(gallery, save_scene(scene(2)), organization=other),
    )
    with gallery.database.read(other) as catalog:
        their_ids = set(catalog.images(list(theirs.matches)))
    assert their_ids == set(theirs.matches)
    assert not their_ids & set(ours.matches)
    assert theirs.verified


def test_erased_image_leaves_the_feature_cache(own_gallery):
    answer = locate(own_gallery, save_scene(scene(2)))
    cached = [path.name for path in (own_gallery.folder / "features").rglob("*") if path.is_file()]
    image_id = order_matches(answer.matches)[0]
    assert any(name.startswith(str(image_id)) for name in cached)
    with own_gallery.database.write(own_gallery.org) as catalog:
        catalog.delete_image(image_id)
    own_gallery.run()
    names = [name for _, _, files in os.walk(own_gallery.folder / "features") for name in files]
    assert not any(name.startswith(str(image_id)) for name in names)
    assert len([name for name in names if "." in name]) >= 5


def test_several_photos_use_the_best_match_of_each_image(gallery):
    answer = locate(gallery, save_scene(scene(77)), save_scene(other_view(scene(2))))
    best = answer.matches[order_matches(answer.matches)[0]]
    assert (best.photo, best.verification.verified) == (1, True)


def test_crop_is_verified_in_pixels_of_the_crop(gallery):
    photo = QueryPhoto(data=save_scene(scene(2)), file="q.jpg", crop=Crop(100, 60, 260, 200))
    answer = locate(gallery, photo)
    best = answer.matches[order_matches(answer.matches)[0]]
    assert best.query_size_px == (260, 200)
    shift = best.match.image_points - best.match.query_points
    np.testing.assert_allclose(np.median(shift, axis=0), [100, 60], atol=2.0)
