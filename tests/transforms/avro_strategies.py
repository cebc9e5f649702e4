"""Generated Avro records as an event's schema has them, and JSON values that fit or may not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Avro = Any
_PRIMITIVES = ("boolean", "int", "long", "float", "double", "string")
_NAMES = ("a", "b", "c", "d")
# JSON cannot tell the members of one group from another.
_GROUPS = (("boolean",), ("int", "long"), ("float", "double"), ("string", "enum"), ("array",),
           ("map", "record"))  # fmt: skip

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), 1 << 64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.sampled_from(["x", "y"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def kinds(draw: st.DrawFn, path: str, depth: int) -> Avro:
    """A type. Named types are called after their place, so that versions agree on names."""
    shape = draw(st.sampled_from(["primitive"] * 3 + ["enum", "union", "array", "map", "record"]))
    if depth == 0 or shape == "primitive":
        return draw(st.sampled_from(_PRIMITIVES))
    if shape == "union":
        groups = draw(st.lists(st.sampled_from(_GROUPS), min_size=1, max_size=3, unique=True))
        members = [draw(of_kind(draw(st.sampled_from(g)), path, depth - 1)) for g in groups]
        return draw(st.permutations(["null", *members]))
    return draw(of_kind(shape, path, depth - 1))


@st.composite
def of_kind(draw: st.DrawFn, kind: str, path: str, depth: int) -> Avro:
    match kind:
        case "enum":
            symbols = draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True))
            return {"type": "enum", "name": f"{path}_e", "symbols": symbols}
        case "array":
            return {"type": "array", "items": draw(kinds(f"{path}_i", depth))}
        case "map":
            return {"type": "map", "values": draw(kinds(f"{path}_v", depth))}
        case "record":
            return draw(records(f"{path}_r", depth))
    return kind


@st.composite
def records(draw: st.DrawFn, name: str = "R", depth: int = 3) -> Avro:
    """A record; what may be null first has a default of null, sometimes."""
    fields = []
    for field in draw(st.lists(st.sampled_from(_NAMES), unique=True)):
        made: dict[str, Any] = {"name": field, "type": draw(kinds(f"{name}_{field}", depth))}
        if isinstance(made["type"], list) and made["type"][0] == "null" and draw(st.booleans()):
            made["default"] = None
        fields.append(made)
    return {"type": "record", "name": name, "fields": fields}


@st.composite
def fitting(draw: st.DrawFn, schema: Avro) -> Any:
    """A value that fits, with properties that the schema does not know."""
    if isinstance(schema, list):
        return draw(fitting(draw(st.sampled_from(schema))))
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "null":
            return None
        case "boolean":
            return draw(st.booleans())
        case "int":
            return draw(st.integers(-(1 << 31), (1 << 31) - 1))
        case "long":
            return draw(st.integers(-(1 << 63), (1 << 63) - 1))
        case "float" | "double":
            return draw(st.floats(allow_nan=False, allow_infinity=False, width=32))
        case "string":
            return draw(st.text(st.characters(codec="utf-8"), max_size=5))
        case "enum":
            return draw(st.sampled_from(schema["symbols"]))
        case "array":
            return draw(st.lists(fitting(schema["items"]), max_size=3))
        case "map":
            return draw(st.dictionaries(st.sampled_from("pqr"), fitting(schema["values"])))
    made = {field["name"]: draw(fitting(field["type"])) for field in schema["fields"]}
    return {**made, "unknown": draw(json_values)}


@st.composite
def misfits(draw: st.DrawFn, schema: Avro) -> Any:
    """A value of a record that fits but for one property, which is anything."""
    good = draw(fitting(schema))
    names = [field["name"] for field in schema["fields"]]
    if names:
        name = draw(st.sampled_from(names))
        if draw(st.booleans()):
            good[name] = draw(json_values)
        else:
            del good[name]
    return good


@st.composite
def evolved(draw: st.DrawFn, record: Avro) -> Avro:
    """The record as somebody changed it: fields dropped, added, and of another type."""
    fields = []
    for field in record["fields"]:
        action = draw(st.sampled_from(["keep", "keep", "drop", "retype", "nullable"]))
        if action == "drop":
            continue
        path = f"{record['name']}_{field['name']}"
        if action == "retype":
            field = {"name": field["name"], "type": draw(kinds(path, 2))}
        elif action == "nullable" and not isinstance(field["type"], list):
            field = {"name": field["name"], "type": ["null", field["type"]], "default": None}
        elif isinstance(field["type"], dict) and field["type"]["type"] == "record":
            field = {**field, "type": draw(evolved(field["type"]))}
        fields.append(field)
    taken = {field["name"] for field in fields}
    for name in set(_NAMES) - taken:
        if draw(st.booleans()):
            new: dict[str, Any] = {"name": name, "type": draw(kinds(f"{record['name']}_{name}", 1))}
            if draw(st.booleans()) and new["type"] == "string":
                new["default"] = ""
            fields.append(new)
    return {**record, "fields": fields}
