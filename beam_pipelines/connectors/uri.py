"""`scheme:path` addresses of everything a job reads or writes."""

from __future__ import annotations


class UriError(ValueError):
    """The address cannot be used; the message names the option, the value and what is wanted."""


def path_of(uri: str, scheme: str, option: str) -> str:
    """The path behind `scheme:`. Raises UriError for another scheme or no path."""
    head, colon, path = uri.partition(":")
    if head != scheme or not colon or not path:
        raise UriError(f"--{option}={uri!r} must look like {scheme}:PATH")
    return path
