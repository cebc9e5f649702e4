"""Lines of a web server's access log, common or combined, as rows.

    127.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326 "referrer" "agent"

Apache calls the two formats `common` and `combined`, and `vhost_combined` with host and port in
front (https://httpd.apache.org/docs/2.4/mod/mod_log_config.html); `combined` is also what nginx
writes unless told otherwise. What follows the fields known is kept as `more`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from transforms.failures import Reason, Rejection
from transforms.rows import NumberedRow, numbered

LONGEST_LINE = 1 << 16  # characters; web servers take requests of 8 KB unless told otherwise
_QUOTED = r'"((?:[^"\\]|\\.)*+)"'
_LINE = re.compile(
    r"(?:(?P<host>[^\s\[\"]+) )?(?P<address>[^\s\"]+) [^\s\"]+ (?P<user>[^\s\"]+) "
    rf"\[(?P<time>[^\]]*)\] {_QUOTED} (?P<status>\d{{3}}) (?P<bytes>\d{{1,18}}|-)"
    rf"(?: {_QUOTED} {_QUOTED})?(?: (?P<more>.*))?"
)
_REQUEST = re.compile(r"([A-Za-z]{1,32}) (\S.*?)(?: (HTTP/\d(?:\.\d)?))?")
_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
        start=1,
    )
}
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ID_DIGITS = 32
_PREFIX = {4: 24, 6: 48}  # bits that are left of a truncated address


@dataclass(frozen=True)
class Visitors:
    """What is kept of whoever sent a request.

    key: makes ids of visitors, see `id_of`
    ip:  none, truncated (/24 of IPv4, /48 of IPv6) or full
    """

    key: bytes
    ip: str = "none"

    def id_of(self, day: str, address: str, agent: str) -> str:
        """The same for the same address and user agent on one day, another one on the next.

        Who does not have the key can neither tell it from a random one nor try addresses out.
        """
        said = "\n".join((day, address, agent)).encode(errors="replace")
        return hmac.new(self.key, said, hashlib.sha256).hexdigest()[:_ID_DIGITS]

    def kept(self, address: str) -> str | None:
        """What may be stored of the address; None: nothing. A host's name is one as well."""
        if self.ip == "full":
            return address
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return None
        if self.ip != "truncated":
            return None
        network = ipaddress.ip_network(f"{address}/{_PREFIX[version]}", strict=False)
        return str(network.network_address)


def access_log_rows(lines: Iterable[str], visitors: Visitors) -> Iterator[NumberedRow]:
    """One row a line; empty lines are passed over.

    Fields: visitor, user, time (ISO 8601), method, url, path, query, protocol, status, bytes, and
    where the line has them host, referrer, user_agent, more; address as `visitors.ip` says.
    """
    for number, text in numbered(lines):
        yield NumberedRow(number, _row(text, visitors))


def _row(text: str, visitors: Visitors) -> dict[str, Any] | Rejection:
    if len(text) > LONGEST_LINE:
        return _refused(
            f"{len(text):,} characters; at most {LONGEST_LINE:,} a line", text, visitors
        )
    found = _LINE.fullmatch(text)
    if found is None:
        return _refused("not in the common or combined format", text, visitors)
    asked, referrer, agent = map(_plain, found.group(5, 8, 9))
    request = _REQUEST.fullmatch(asked or "")
    if request is None:
        return _refused(f"the request {asked!r} is no METHOD PATH PROTOCOL", text, visitors)
    at = _instant(found["time"])
    if at is None:
        return _refused(f"time {found['time']!r} is not DD/Mon/YYYY:hh:mm:ss ±hhmm", text, visitors)
    host, address, target = found["host"], found["address"], request[2]
    path, _, query = target.partition("?")
    day = at.astimezone(UTC).date().isoformat()
    row = {
        "visitor": visitors.id_of(day, address, agent or ""),
        "user": found["user"],
        "time": at.isoformat(),
        "method": request[1],
        "url": _address(host, target),
        "path": path,
        "query": query,
        "protocol": request[3],
        "status": int(found["status"]),
        "bytes": None if found["bytes"] == "-" else int(found["bytes"]),
        "host": host and host.partition(":")[0],
        "referrer": referrer,
        "user_agent": agent,
        "more": found["more"],
        "address": visitors.kept(address),
    }
    return {name: value for name, value in row.items() if value not in (None, "", "-")}


def _refused(why: str, text: str, visitors: Visitors) -> Rejection:
    """With the line as it is, but for the address at its beginning unless that may be kept."""
    first, space, rest = text[:LONGEST_LINE].partition(" ")
    try:
        ipaddress.ip_address(first)
    except ValueError:
        shown = text
    else:
        cut = " (cut)" if len(text) > LONGEST_LINE else ""
        shown = (visitors.kept(first) or "-") + space + rest + cut
    return Rejection(Reason.UNREADABLE, why, shown.encode(errors="replace"))


def _address(host: str | None, target: str) -> str:
    """The page's address; without scheme and host where the log does not say them."""
    if host is None or not target.startswith("/"):
        return target
    name, _, port = host.partition(":")
    return f"{'https' if port == '443' else 'http'}://{name}{target}"


def _plain(quoted: str | None) -> str | None:
    r"""A field without its escapes: \" and \\, \xhh for bytes that are no printable ASCII."""
    if quoted is None or "\\" not in quoted:
        return quoted
    plain = _ESCAPE.sub(_unescaped, quoted.encode(errors="replace"))
    return plain.decode(errors="replace")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if len(code) == len(b"x00"):
        return bytes((int(code[1:], 16),))
    return _NAMED.get(code, code)


def _instant(text: str) -> datetime | None:
    """By hand: strptime reads the month in the language of the machine."""
    found = _TIME.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return None
    day, _, year, hour, minute, second, sign, hours, minutes = found.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return datetime(
            int(year), _MONTHS[found[2]], int(day), int(hour), int(minute), min(int(second), 59),
            tzinfo=timezone(-ahead if sign == "-" else ahead),
        )  # fmt: skip
    except ValueError:
        return None
