"""A sign-in URL is good once, for a while, on this machine, and what it gives is no cookie."""

from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from api.test_api_callers import operator_key
from api.test_api_problems import problem
from pinpoint.api.sessions import Sessions
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.sign_in_urls import make_sign_in_url, use_token


@pytest.fixture
def closed(api, tmp_path):
    """The API without keyless access."""
    api.begin(tmp_path, allow_keyless=False)
    return api


def url_of(api, **options) -> str:
    paths = StackPaths(api.parts.settings.services.home)
    url = make_sign_in_url(paths, api.url, **options)
    assert url.startswith(f"{api.url}/sign-in?token=")
    return url


def test_sign_in_gives_a_session_of_the_operator_and_no_cookie(closed):
    with closed.http() as http:
        answer = http.get(url_of(closed))
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        session = answer.json()["session"]
    with closed.http(session) as http:
        assert http.get("/v1/sources").status_code == 200
        assert http.delete("/v1/sources/nothing").status_code == 404
        assert http.get("/v1/sources", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 401
    with closed.http() as http:
        assert http.get("/v1/sources").status_code == 401


def test_sign_in_url_is_good_once(closed):
    url = url_of(closed)
    with closed.http() as http:
        assert http.get(url).status_code == 200
        problem(http.get(url), 401, "unauthenticated")


def test_sign_in_by_many_at_once_lets_one_in(closed):
    token = parse_qs(urlsplit(url_of(closed)).query)["token"][0]
    home, used = closed.parts.settings.services.home, []
    threads = [
        threading.Thread(target=lambda: used.append(use_token(home, token))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(used) == [False] * 15 + [True]


def test_sign_in_url_expires_and_is_removed(closed):
    url = url_of(closed, lasts_s=-1.0)
    with closed.http() as http:
        problem(http.get(url), 401, "unauthenticated")
    url_of(closed, lasts_s=-1.0)
    url_of(closed)
    folder = closed.parts.settings.services.home / "sign-in"
    assert len(list(folder.iterdir())) == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.iterdir()))


def test_sign_in_token_of_another_home_is_refused(closed, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with closed.http() as http:
        problem(http.get(make_sign_in_url(StackPaths(other), closed.url)), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 401),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Sec-Purpose": "prefetch;prerender"}, 400),
    ],
)
def test_sign_in_from_elsewhere_is_refused_and_uses_nothing_up(closed, headers, status):
    url = url_of(closed)
    with closed.http() as http:
        assert http.get(url, headers=headers).status_code == status
        closed.peer.address = "10.0.0.7"
        assert http.get(url).status_code == 401
        closed.peer.address = None
        assert http.get(url).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "../../etc/passwd", "é" * 43, "a" * 43, "a" * 200])
def test_sign_in_with_a_made_up_token_is_refused(closed, token):
    with closed.http() as http:
        answer = http.get("/sign-in", params={"token": token})
    assert answer.status_code in (401, 422)


def test_sessions_are_bounded_and_end(monkeypatch):
    sessions = Sessions()
    first = sessions.open()
    assert sessions.is_valid(first.secret)
    assert not sessions.is_valid("ps_made-up")
    for _ in range(64):
        last = sessions.open()
    assert not sessions.is_valid(first.secret)
    monkeypatch.setattr("pinpoint.api.sessions.time.time", lambda: last.expires_at.timestamp() + 1)
    assert not sessions.is_valid(last.secret)


def test_operator_key_opens_a_stack_that_has_no_keys(closed):
    with closed.http(operator_key(closed)) as http:
        assert http.get("/v1/sources").status_code == 200
