"""The guard refuses every trick, and no listener of this machine is ever contacted.

Names are resolved by the test, so that an answer can change between two calls.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import defaultdict
from ipaddress import ip_network

import pytest

from outgoing.servers import (
    ALLOWED_ADDRESS,
    make_response,
    open_trap,
    send_endless_chunks,
    send_slowly,
    serve,
)
from pinpoint.errors import ConfigurationError, RemoteFileError
from pinpoint.outgoing.connections import TransferBudget
from pinpoint.outgoing.guard import MAX_REDIRECTS, Guard, RequestRules
from pinpoint.outgoing.urls import normalize_host, parse_url

PUBLIC = "93.184.215.14"
BODY = b"a photo"

LITERALS = (
    *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001"),
    *("127.1", "127.0.1", "0", "0.0.0.0", "127.0.0.1.", "127.0.0.01", "127.0.0.1.0x0"),
    *("①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "127.0.0.1％00"),
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::80ff:fffe]"),
    *("[fe80::1%25lo]", "[fe80::1%lo]", "[fc00::1]", "[ff02::1]", "[fd00:ec2::254]"),
    *("169.254.169.254", "[::1", "::1", "[127.0.0.1]", "[v1.fe80]"),
)
FORBIDDEN_ADDRESSES = (
    *("127.0.0.1", "127.200.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "100.64.0.1", "169.254.169.254", "168.63.129.16", "192.0.0.192"),
    *("192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"),
    *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::1", "2001:db8::1"),
    *("fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "5f00::1"),
)
TEXTS = (
    *("file:///etc/passwd", "FILE:///etc/passwd", "file://photos.test/etc/passwd"),
    *("ftp://photos.test:{port}/a", "gopher://photos.test:{port}/_GET", "data:image/png;base64,AA"),
    *("dict://127.0.0.1:{port}/d", "ldap://127.0.0.1:{port}/", "jar:http://photos.test!/a"),
    *("unix:///run/a.sock", "javascript:alert(1)", "", "photos.test/a", "//photos.test/a"),
    *("http:/photos.test/a", "http:///a", "http:photos.test", "http://", "http://:{port}/"),
    *("http://photos.test@127.0.0.1:{port}/", "http://user:secret@photos.test:{port}/"),
    *("http://photos.test:80@127.0.0.1:{port}/", "http://@photos.test:{port}/"),
    *("http://127.0.0.1:{port}\\@photos.test/", "http:\\\\127.0.0.1:{port}/"),
    *("http://photos.test#@127.0.0.1:{port}/", "http://photos.test:{port}/a#b"),
    *("http://photos.test%40127.0.0.1:{port}/", "http://%31%32%37.0.0.1:{port}/"),
    *("http://photos.test%00.evil.test/", "http://photos.test\x00.evil.test:{port}/"),
    *(
        " http://photos.test:{port}/",
        "http://photos.test:{port}/\r\nHost: evil",
        "\thttp://a.test/",
    ),
    *("http://photos.test:22/", "http://photos.test:0/", "http://photos.test:65536/"),
    *("http://photos.test:+80/", "http://photos.test:８０/", "http://photos.test:80:90/"),
    *("http://photos.test:/", "http://evil.test:{port}/", "http://photos.test.evil.test:{port}/"),
    *("http://evilphotos.test:{port}/", "http://рhotos.test:{port}/", "http://listed.test:{port}/"),
    *("http://pho\u00adtos.test.evil.test:{port}/", "http://-a.test:{port}/", "http://a..test/"),
    *("http://a_b.test:{port}/", "http://" + "a" * 64 + ".test/", "http://\ud800.test/"),
    "https://photos.test:443/" + "a" * 3_000,
)


class Names:
    """A resolver under the control of the test; an answer of several lists changes each time."""

    def __init__(self) -> None:
        self.answers = defaultdict(lambda: [[ALLOWED_ADDRESS]])
        self.calls: list[str] = []

    def __call__(self, host, port):
        self.calls.append(host)
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(scope="module")
def trap():
    with open_trap() as listener:
        yield listener


@pytest.fixture(autouse=True)
def _trap_is_never_contacted(trap):
    yield
    assert trap.connections == []


@pytest.fixture(scope="module")
def server():
    with serve(answer_request) as running:
        yield running


def answer_request(connection, target, _head):
    """Answers of the hostile server, by the first part of the path."""
    name, _, rest = target.removeprefix("/").partition("/")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    if name == "redirect":
        connection.sendall(make_response(b"", "302 Found", Location=bytes.fromhex(rest).decode()))
    elif name == "loop":
        connection.sendall(make_response(b"", "307 Temporary", Location=f"/loop/{rest}a"))
    elif name == "endless":
        send_endless_chunks(connection)
    elif name == "drip":
        send_slowly(connection, chunked, b"1\r\na\r\n")
    elif name == "slow-head":
        send_slowly(connection, b"HTTP/1.1 200 OK\r\nX-A: ", b"a")
    elif name == "informational":
        send_slowly(connection, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")
    elif name == "headers":
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 100_000)
    elif name in ANSWERS:
        connection.sendall(ANSWERS[name])


ANSWERS = {
    "photo": make_response(BODY),
    "empty": b"",
    "noise": b"\x00\xff" * 100,
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabcdefghi",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "announced": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "gzip": make_response(BODY, Content_Encoding="gzip"),
    "deflate": make_response(BODY, Content_Encoding="identity, deflate"),
    "missing": make_response(b"", "404 Not Found"),
    "gone": make_response(b"", "410 Gone"),
    "secret": make_response(b"", "403 Forbidden"),
    "login": make_response(b"", "401 Unauthorized"),
    "down": make_response(b"", "503 Service Unavailable"),
    "nowhere": make_response(b"", "302 Found"),
}


@pytest.fixture
def names():
    return Names()


@pytest.fixture
def guard(names, trap, server):
    return make_guard(names, trap, server)


def make_guard(names, trap, server, **changes):
    rules = {
        "hosts": ("photos.test", "*.photos.test", "127.0.0.2"),
        "schemes": ("http", "https"),
        "ports": (80, 443, trap.port, server.port),
        "networks": (ip_network(f"{ALLOWED_ADDRESS}/32"),),
    } | changes
    return Guard(RequestRules(**rules), timeout_s=0.5, resolve=names, retry_pause_s=0)


def fetch(guard, url, max_bytes=1_000):
    file = io.BytesIO()
    guard.fetch_to_file(url, file, max_bytes=max_bytes)
    return file.getvalue()


def refusal(guard, url, **options):
    with pytest.raises(RemoteFileError) as raised:
        fetch(guard, url, **options)
    return raised.value.reason


@pytest.mark.parametrize("hosts", [("*",), ("photos.test",)], ids=["any name", "one name"])
@pytest.mark.parametrize("literal", LITERALS)
def test_guard_with_an_unlisted_address_refuses_it(literal, hosts, names, trap, server):
    guard = make_guard(names, trap, server, hosts=hosts)
    assert refusal(guard, f"http://{literal}:{trap.port}/") == "url_refused"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1"])
def test_guard_with_a_listed_private_address_refuses_the_connection(address, names, trap, server):
    guard = make_guard(names, trap, server, hosts=(address,))
    host = f"[{address}]" if ":" in address else address
    assert refusal(guard, f"http://{host}:{trap.port}/") == "url_refused"


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_guard_with_a_name_of_a_private_address_refuses_it(address, guard, names, trap):
    names.answers["photos.test"] = [[address]]
    assert refusal(guard, f"http://photos.test:{trap.port}/") == "url_refused"
    names.answers["photos.test"] = [[PUBLIC, address]]
    assert refusal(guard, f"http://photos.test:{trap.port}/") == "url_refused"


@pytest.mark.parametrize("text", TEXTS)
def test_guard_with_a_hostile_text_refuses_it(text, guard, trap):
    assert refusal(guard, text.replace("{port}", str(trap.port))) == "url_refused"


def test_guard_with_an_answer_that_changes_connects_to_the_verified_address(guard, names, server):
    names.answers["photos.test"] = [[ALLOWED_ADDRESS], ["127.0.0.1"]]
    assert fetch(guard, server.url("/photo")) == BODY
    assert names.calls == ["photos.test"]


def test_guard_with_an_answer_that_changes_before_a_redirect_refuses_it(guard, names, server, trap):
    names.answers["photos.test"] = [[ALLOWED_ADDRESS], ["127.0.0.1"]]
    location = f"http://photos.test:{trap.port}/".encode().hex()
    assert refusal(guard, server.url(f"/redirect/{location}")) == "url_refused"
    assert names.calls == ["photos.test", "photos.test"]


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://2130706433:{port}/"),
        *("http://evil.test:{port}/", "//127.0.0.1:{port}/", "\\\\127.0.0.1:{port}/"),
        *("http://photos.test@127.0.0.1:{port}/", "http://photos.test:22/", "file:///etc/passwd"),
        *("gopher://127.0.0.1:{port}/", "http://private.photos.test:{port}/", "data:,a", ""),
        *("http://169.254.169.254/latest/meta-data/", "http://①②⑦.⓪.⓪.①:{port}/"),
    ],
)
def test_guard_with_a_redirect_to_a_forbidden_url_refuses_it(location, guard, names, server, trap):
    names.answers["private.photos.test"] = [["127.0.0.1"]]
    target = location.replace("{port}", str(trap.port)).encode().hex()
    path = f"/redirect/{target}" if target else "/nowhere"
    assert refusal(guard, server.url(path)) == "url_refused"


def test_guard_with_redirects_follows_a_limited_number(guard, server):
    location = b"/photo".hex()
    assert fetch(guard, server.url(f"/redirect/{location}")) == BODY
    num_requests = len(server.requests)
    assert refusal(guard, server.url("/loop/")) == "url_refused"
    assert len(server.requests) - num_requests == MAX_REDIRECTS + 1


def test_guard_with_a_redirect_to_http_refuses_the_downgrade(guard):
    with pytest.raises(RemoteFileError, match="from https to http"):
        guard._follow_redirect(parse_url("https://photos.test/"), "http://photos.test/")


def test_guard_with_credentials_refuses_redirects(guard, server):
    location = b"/photo".hex()
    with pytest.raises(RemoteFileError, match="credentials"):
        guard.fetch_to_file(
            server.url(f"/redirect/{location}"),
            io.BytesIO(),
            max_bytes=100,
            headers={"Authorization": "secret"},
        )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        *((path, "url_too_large") for path in ("/endless", "/announced")),
        *((path, "url_timeout") for path in ("/drip", "/slow-head", "/informational")),
        *((path, "url_refused") for path in ("/gzip", "/deflate")),
        *((path, "url_not_found") for path in ("/missing", "/gone")),
        *((path, "url_forbidden") for path in ("/secret", "/login")),
        *((path, "url_unavailable") for path in ("/empty", "/noise", "/short", "/lengths")),
        *((path, "url_unavailable") for path in ("/negative", "/chunk", "/cut", "/down")),
        ("/headers", "url_unavailable"),
    ],
)
def test_guard_with_a_hostile_answer_gives_its_error_code(path, reason, guard, server):
    start = time.monotonic()
    assert refusal(guard, server.url(path)) == reason
    assert time.monotonic() - start < 8


def test_guard_with_a_resolver_that_hangs_ends_within_its_time_limit(names, trap, server):
    guard, is_over = make_guard(names, trap, server), threading.Event()
    guard._resolve = lambda host, port: [ALLOWED_ADDRESS] if is_over.wait(20) else []
    started_at = time.monotonic()
    assert refusal(guard, f"http://photos.test:{server.port}/") == "url_timeout"
    assert time.monotonic() - started_at < 5
    is_over.set()


def test_trap_records_a_connection_to_any_address():
    """Counterpart of all other tests: a contacted listener would be seen."""
    with open_trap() as own_trap:
        for address in ("127.0.0.1", "127.1.2.3"):
            socket.create_connection((address, own_trap.port), timeout=5).close()
        end = time.monotonic() + 5
        while len(own_trap.connections) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(own_trap.connections) == 2


def test_guard_sends_no_credentials_cookies_or_codings(guard, server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    num_requests = len(server.requests)
    assert fetch(guard, server.url("/photo")) == BODY
    (head,) = server.requests[num_requests:]
    headers = sorted(line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line)
    assert headers == [b"accept-encoding", b"connection", b"host", b"user-agent"]
    assert b"Accept-Encoding: identity" in head
    assert f"Host: photos.test:{server.port}".encode() in head


def test_guard_without_hosts_refuses_everything(names, trap, server):
    guard = make_guard(names, trap, server, hosts=())
    assert refusal(guard, server.url("/photo")) == "url_refused"
    assert names.calls == []


def test_guard_with_a_full_body_accepts_exactly_the_limit(guard, server):
    assert fetch(guard, server.url("/photo"), max_bytes=len(BODY)) == BODY
    assert refusal(guard, server.url("/photo"), max_bytes=len(BODY) - 1) == "url_too_large"


def test_budget_with_a_slow_body_ends_it():
    budget = TransferBudget(timeout_s=600, started_at=time.monotonic() - 20, num_bytes=1_000)
    with pytest.raises(RemoteFileError, match="less than") as raised:
        budget.limit_wait_s()
    assert raised.value.reason == "url_timeout"
    budget.num_bytes = 100_000
    assert 0 < budget.limit_wait_s() <= 15


@pytest.mark.parametrize("entry", ["*a.test", "http://a.test", "a.test/b", "10.0.0.0/8", "a b"])
def test_rules_with_an_entry_that_is_no_host_are_refused(entry):
    with pytest.raises(ConfigurationError):
        RequestRules(hosts=(entry,))


def test_rules_compare_names_in_idna_form():
    rules = RequestRules(hosts=("Bücher.Test", "*.fotos.test", "2606:4700::1"))
    for url in ("https://xn--bcher-kva.test/", "https://BÜCHER.test./", "https://a.fotos.test/"):
        rules.check(parse_url(url))
    rules.check(parse_url("https://[2606:4700:0::1]/"))
    for url in ("https://fotos.test/", "https://a.bücher.test/", "https://[2606:4700::2]/"):
        with pytest.raises(RemoteFileError):
            rules.check(parse_url(url))


def test_parse_url_normalizes_the_parts():
    assert str(parse_url("HTTPS://Bücher.TEST:443/ü/%41?q=ä&r[]=1")) == (
        "https://xn--bcher-kva.test/%C3%BC/%41?q=%C3%A4&r%5B%5D=1"
    )
    assert str(parse_url("http://a.test:8080")) == "http://a.test:8080/"
    assert normalize_host("[2606:4700:0:0::1]") == "2606:4700::1"
