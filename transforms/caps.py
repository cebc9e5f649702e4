"""No number is broken down without end: what is one value too many is counted as `(other)`."""

from __future__ import annotations

import json
from collections.abc import Container

from transforms.measure import Key

OTHER = "(other)"
CAP = 1_000  # values of a number's dimensions, taken together, of one project


def capped(key: Key, admitted: Container[str]) -> Key:
    """The key, or that of the rest where its dimensions are not among the admitted.

    A number without dimensions has one key and is never capped.
    """
    if key.dimensions == "{}" or key.dimensions in admitted:
        return key
    names = json.loads(key.dimensions)
    rest = json.dumps(dict.fromkeys(names, OTHER), sort_keys=True, separators=(",", ":"))
    return key._replace(dimensions=rest)
