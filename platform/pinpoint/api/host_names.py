"""Names of hosts in settings and in the headers `Host` and `Origin`."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def parse_host_names(text: str | None) -> tuple[str, ...]:
    """Parse the comma-separated host names of the setting, in lower case."""
    return tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())


def parse_host_name(host: str) -> str | None:
    """Parse the name or address in a `Host` header, in lower case; None if there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def parse_origin_name(origin: str) -> str | None:
    """Parse the name or address in an `Origin` header; None if it names no host."""
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def is_own_host(host_name: str | None, configured_host: str) -> bool:
    """Whether a name is `localhost`, a loopback address, or the address that the API listens on."""
    if host_name is None:
        return False
    return host_name in ("localhost", configured_host) or is_loopback(host_name)


def is_origin_of_host(origin: str, host: str) -> bool:
    """Whether an `Origin` header names the host and port of the request."""
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether a text is an IP address of this machine itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
