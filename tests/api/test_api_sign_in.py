"""Sign-in URLs: single use, limited lifetime, loopback only, a session without cookie."""

from __future__ import annotations

import threading

import pytest

from api.test_api_auth import operator_key
from api.test_api_problems import problem
from pinpoint.api.sessions import Sessions
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.sign_in_urls import make_sign_in_url, use_token


@pytest.fixture
def keyed_api(api, tmp_path):
    """The API without keyless access."""
    api.begin(tmp_path, allow_keyless=False)
    return api


def make_token(api, **options) -> str:
    """Token of a new sign-in URL."""
    paths = StackPaths(api.parts.settings.services.home)
    url = make_sign_in_url(paths, api.url, **options)
    assert url.startswith(f"{api.url}/#sign-in=")
    return url.partition("=")[2]


def sign_in(http, token, **headers):
    return http.post("/sign-in", headers={"Authorization": b"Bearer " + token.encode(), **headers})


def test_sign_in_returns_an_operator_session_without_cookie(keyed_api):
    with keyed_api.http() as http:
        answer = sign_in(http, make_token(keyed_api))
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        session = answer.json()["session"]
    with keyed_api.http(session) as http:
        assert http.get("/v1/sources").status_code == 200
        assert http.delete("/v1/sources/nothing").status_code == 404
        assert http.get("/v1/sources", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 401
    with keyed_api.http() as http:
        assert http.get("/v1/sources").status_code == 401


def test_sign_in_url_used_twice_is_rejected(keyed_api):
    token = make_token(keyed_api)
    with keyed_api.http() as http:
        assert sign_in(http, token).status_code == 200
        problem(sign_in(http, token), 401, "unauthenticated")


def test_sign_in_url_used_concurrently_succeeds_once(keyed_api):
    token = make_token(keyed_api)
    home, used = keyed_api.parts.settings.services.home, []
    threads = [
        threading.Thread(target=lambda: used.append(use_token(home, token))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(used) == [False] * 15 + [True]


def test_sign_in_url_expires_and_is_removed(keyed_api):
    token = make_token(keyed_api, lasts_s=-1.0)
    with keyed_api.http() as http:
        problem(sign_in(http, token), 401, "unauthenticated")
    make_token(keyed_api, lasts_s=-1.0)
    make_token(keyed_api)
    folder = keyed_api.parts.settings.services.home / "sign-in"
    assert len(list(folder.iterdir())) == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.iterdir()))


def test_sign_in_token_of_another_home_is_rejected(keyed_api, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with keyed_api.http() as http:
        token = make_sign_in_url(StackPaths(other), keyed_api.url).partition("=")[2]
        problem(sign_in(http, token), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
    ],
)
def test_sign_in_from_other_address_is_rejected_and_keeps_the_token(keyed_api, headers, status):
    token = make_token(keyed_api)
    with keyed_api.http() as http:
        assert sign_in(http, token, **headers).status_code == status
        keyed_api.peer.address = "10.0.0.7"
        assert sign_in(http, token).status_code == 401
        keyed_api.peer.address = None
        assert sign_in(http, token).status_code == 200


@pytest.mark.parametrize("token", ["x", "../../etc/passwd", "é" * 43, "a" * 43, "a" * 200])
def test_sign_in_with_forged_token_is_rejected(keyed_api, token):
    with keyed_api.http() as http:
        answer = sign_in(http, token)
        problem(answer, 401, "unauthenticated")


def test_sessions_expire_and_are_limited_in_number(monkeypatch):
    sessions = Sessions()
    first = sessions.open()
    assert sessions.is_valid(first.secret)
    assert not sessions.is_valid("ps_made-up")
    for _ in range(64):
        last = sessions.open()
    assert not sessions.is_valid(first.secret)
    monkeypatch.setattr("pinpoint.api.sessions.time.time", lambda: last.expires_at.timestamp() + 1)
    assert not sessions.is_valid(last.secret)


def test_operator_key_without_other_keys_is_accepted(keyed_api):
    with keyed_api.http(operator_key(keyed_api)) as http:
        assert http.get("/v1/sources").status_code == 200
