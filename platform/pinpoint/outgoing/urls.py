"""Parses http(s) URLs of users strictly: what cannot be read in exactly one way is refused.

Differences between URL parsers are a known way around allow-lists, so the request is built from the
parsed parts, and the text of the user is never parsed a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import quote, urljoin

import idna

from pinpoint.errors import RemoteFileError

URL_REFUSED: Final = "url_refused"
"""Reason of a URL that the guard refuses."""
MAX_URL_CHARS: Final = 2_048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_SHAPE: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?"
    r"(?P<fragment>#.*)?",
    re.IGNORECASE | re.ASCII,
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A name whose last label has this form is an IPv4 address for some libraries (WHATWG URL)."""
_SAFE_PATH: Final = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A parsed http(s) URL; `str()` gives its normalized text."""

    scheme: str
    host: str
    """Name in IDNA form (ASCII, lower case, no final dot), or an address without brackets."""
    port: int
    target: str
    """Path and query, percent-encoded."""

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host as an address; None if it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def join(self, location: str) -> WebUrl:
        """Resolve the `Location` of a redirect; its fragment is ignored.

        Raises:
            RemoteFileError: `url_refused`.
        """
        _check_characters(location)
        return parse_url(urljoin(str(self), location).partition("#")[0])


def refuse_url(text: str, cause: str) -> RemoteFileError:
    """Error for a URL that the guard refuses; the text is shortened."""
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return RemoteFileError(f"{shown!r} is refused: {cause}", reason=URL_REFUSED)


def parse_url(text: str) -> WebUrl:
    """Parse an http(s) URL.

    Raises:
        RemoteFileError: `url_refused`: another scheme, userinfo, a fragment, control characters or
            backslashes, an address that is not in its canonical form, or an invalid name or port.
    """
    if len(text) > MAX_URL_CHARS:
        raise refuse_url(text, f"a URL has at most {MAX_URL_CHARS} characters")
    _check_characters(text)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise refuse_url(text, "it is no http or https URL")
    if match["fragment"] is not None:
        raise refuse_url(text, "it has a fragment (#…)")
    scheme = match["scheme"].lower()
    host, port = _split_authority(text, match["authority"])
    return WebUrl(
        scheme=scheme,
        host=normalize_host(host),
        port=DEFAULT_PORTS[scheme] if port is None else port,
        target=quote(match["path"] or "/", safe=_SAFE_PATH)
        + quote(match["query"] or "", safe=f"{_SAFE_PATH}?"),
    )


def normalize_host(host: str) -> str:
    """Convert a host to its IDNA form; an address must be in its canonical form.

    Raises:
        RemoteFileError: `url_refused`.
    """
    if host.startswith("[") and host.endswith("]"):
        return _normalize_ipv6(host)
    try:
        # UTS 46 maps full-width letters, digits and dots to ASCII, as browsers do.
        name = idna.encode(host, uts46=True, std3_rules=True).decode().lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise refuse_url(host, "it is no valid host name") from error
    name = name.removesuffix(".")
    if not name or len(name) > 253:
        raise refuse_url(host, "it is no valid host name")
    if _NUMERIC_LABEL.fullmatch(name.rsplit(".", 1)[-1]):
        try:
            IPv4Address(name)
        except ValueError as error:
            raise refuse_url(host, "it is an address in an unusual form") from error
    return name


def _normalize_ipv6(host: str) -> str:
    try:
        address = IPv6Address(host[1:-1])
    except ValueError as error:
        raise refuse_url(host, "it is no IPv6 address") from error
    if address.scope_id:
        raise refuse_url(host, "it has a zone")
    return str(address)


def _check_characters(text: str) -> None:
    if any(ord(character) <= 0x20 or 0x7F <= ord(character) <= 0x9F for character in text):
        raise refuse_url(text, "it contains blanks or control characters")
    if "\\" in text:
        raise refuse_url(text, "it contains a backslash")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refuse_url(ascii(text), "it contains half of a surrogate pair") from error


def _split_authority(text: str, authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise refuse_url(text, "it contains a user name or password")
    if "%" in authority:
        raise refuse_url(text, "its host is percent-encoded")
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        host += bracket
    else:
        host, colon, port_text = authority.partition(":")
        rest = colon + port_text
    if not rest:
        return host, None
    port_text = rest.removeprefix(":")
    if not rest.startswith(":") or not _PORT.fullmatch(port_text):
        raise refuse_url(text, "its port is no number")
    if not 1 <= int(port_text) <= 65_535:
        raise refuse_url(text, "its port is not between 1 and 65535")
    return host, int(port_text)
