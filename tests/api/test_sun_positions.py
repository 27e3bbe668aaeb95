"""Position of the sun against NREL's worked example and NOAA's published equations."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pinpoint.api.dossiers.sun_positions import compute_sun_position
from pinpoint.records import Point


def noaa_position(lat, lon, time):
    """Elevation and azimuth by the equations of NOAA's solar calculator (after Meeus).

    https://gml.noaa.gov/grad/solcalc/calcdetails.html
    """
    julian_day = time.timestamp() / 86_400 + 2_440_587.5
    century = (julian_day - 2_451_545) / 36_525
    mean_lon = (280.46646 + century * (36_000.76983 + century * 0.0003032)) % 360
    anomaly = math.radians(357.52911 + century * (35_999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    center = (
        math.sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + math.sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + math.sin(3 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1_934.136 * century)
    apparent_lon = math.radians(mean_lon + center - 0.00569 - 0.00478 * math.sin(node))
    seconds = 21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))
    obliquity = math.radians(23 + (26 + seconds / 60) / 60 + 0.00256 * math.cos(node))
    declination = math.asin(math.sin(obliquity) * math.sin(apparent_lon))
    y = math.tan(obliquity / 2) ** 2
    double_lon = 2 * math.radians(mean_lon)
    equation_of_time_min = 4 * math.degrees(
        y * math.sin(double_lon)
        - 2 * eccentricity * math.sin(anomaly)
        + 4 * eccentricity * y * math.sin(anomaly) * math.cos(double_lon)
        - 0.5 * y * y * math.sin(2 * double_lon)
        - 1.25 * eccentricity**2 * math.sin(2 * anomaly)
    )
    minutes = time.hour * 60 + time.minute + time.second / 60
    hour_angle = math.radians((minutes + equation_of_time_min + 4 * lon) / 4 - 180)
    latitude = math.radians(lat)
    zenith = math.acos(
        math.sin(latitude) * math.sin(declination)
        + math.cos(latitude) * math.cos(declination) * math.cos(hour_angle)
    )
    azimuth = math.atan2(
        math.sin(hour_angle),
        math.cos(hour_angle) * math.sin(latitude) - math.tan(declination) * math.cos(latitude),
    )
    return 90 - math.degrees(zenith), (math.degrees(azimuth) + 180) % 360


def test_sun_position_equals_the_worked_example_of_nrel():
    # TP-560-34302, table A5.1: zenith without refraction and azimuth, at 1,830 m.
    time = datetime(2003, 10, 17, 12, 30, 30, tzinfo=timezone(timedelta(hours=-7)))
    elevation_deg, azimuth_deg = compute_sun_position(Point(39.742476, -105.1786), time)
    assert elevation_deg == pytest.approx(39.872046, abs=0.001)
    assert azimuth_deg == pytest.approx(194.340241, abs=0.001)


@pytest.mark.parametrize("year", [1900, 1955, 2000, 2026, 2100])
def test_sun_position_agrees_with_the_equations_of_noaa(year):
    for step in range(60):
        time = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=6.05 * step, hours=step % 24)
        lat, lon = -85 + 170 * (step * 7 % 60) / 59, -180 + 360 * (step * 13 % 60) / 60
        expected = noaa_position(lat, lon, time)
        elevation_deg, azimuth_deg = compute_sun_position(Point(lat, lon), time)
        assert elevation_deg == pytest.approx(expected[0], abs=0.05)
        turn = (azimuth_deg - expected[1] + 180) % 360 - 180
        assert abs(turn) * math.cos(math.radians(elevation_deg)) < 0.05


@pytest.mark.parametrize("year", [1, 1500, 9999])
@pytest.mark.parametrize("lat", [-90.0, 0.0, 90.0])
def test_sun_position_of_any_claim_is_finite(year, lat):
    elevation_deg, azimuth_deg = compute_sun_position(
        Point(lat, 180.0), datetime(year, 12, 31, tzinfo=UTC)
    )
    assert -90 <= elevation_deg <= 90
    assert 0 <= azimuth_deg < 360
