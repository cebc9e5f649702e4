"""Where a request comes from: which host it asked for, which page sent it, which machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from catalog.settings import SettingError

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_FORWARDED = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"),
    *("X-Forwarded-Server", "X-Forwarded-Port", "Via", "Cf-Connecting-Ip", "X-Client-Ip"),
)
_INSIDE = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """Scheme and host, with port where it is not the usual one; both empty where none is set."""

    scheme: str
    netloc: str

    @classmethod
    def read(cls, text: str) -> PublicUrl:
        """HEADWATER_PUBLIC_URL. Raises SettingError."""
        if not text:
            return cls("", "")
        parts = urlsplit(text.rstrip("/"))
        if (
            parts.scheme not in {"http", "https"}
            or not _HOST.fullmatch(parts.netloc)
            or parts.path
            or parts.query
            or parts.fragment
        ):
            raise SettingError(
                f"HEADWATER_PUBLIC_URL={text!r} is no address of a site; "
                "write scheme and host: https://stats.example.org"
            )
        return cls(parts.scheme, parts.netloc.lower())

    @property
    def origin(self) -> str:
        """As a browser's Origin header says it."""
        return f"{self.scheme}://{self.netloc}" if self.netloc else ""


def host_name(host: str) -> str | None:
    """Name or address in a Host header, without port and brackets; None where it is neither."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower() if found else None


def host_is_ours(host: str, public: PublicUrl) -> bool:
    """Whether a request may ask for this Host.

    A page of somebody else's can point a name of theirs at this machine (DNS rebinding) and then
    read what we answer to it. They cannot do that with an address, with localhost, or with the
    name that the settings say is ours.
    """
    name = host_name(host)
    if name is None:
        return False
    return name == "localhost" or _address(name) or name == host_name(public.netloc)


def is_here(remote: str | None, host: str, headers: Headers) -> bool:
    """Whether somebody at this machine asks, with nothing in between that says otherwise."""
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    forwarded = any(name in headers for name in _FORWARDED)
    return mapped.is_loopback and host_name(host) in _HERE and not forwarded


def is_foreign(headers: Headers, own: str, public: PublicUrl) -> bool:
    """Whether a browser says that a page of another site sends this. own: scheme://host asked."""
    if headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        return True
    origin = headers.get("Origin")
    return origin is not None and origin.lower() not in {own.lower(), public.origin} - {""}


def inside(address: str) -> str:
    """Where to go after signing in: the address if it is one of our pages, else the start.

    Browsers read `//host`, `/\\host` and addresses with tabs in them as other sites.
    """
    return address if len(address) <= 2000 and _INSIDE.fullmatch(address) else "/"


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
