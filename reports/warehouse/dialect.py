"""Mends what sqlglot's translation from BigQuery's dialect to DuckDB's would get wrong in silence.

What it cannot translate fails with a message. The calls here run, but give another answer.
"""

from __future__ import annotations

from sqlglot import exp

# BigQuery's NUMERIC has 9 decimals, DuckDB's DECIMAL without a precision 3.
_NUMERIC_TYPES = {exp.DataType.Type.DECIMAL, exp.DataType.Type.BIGDECIMAL}
_NUMERIC = (38, 9)
_DAYS_OR_LONGER = {"DAY", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR"}
_COUNTED_ELSEWHERE = {
    "WEEK": "use ISOWEEK, or DATE_TRUNC(…, WEEK)",
    "MILLISECOND": "use UNIX_MILLIS",
    "MICROSECOND": "use UNIX_MICROS",
}


def refusal(node: exp.Expr) -> str | None:
    """Why a call has no counterpart at all, and what to use; None where it has one."""
    if isinstance(node, exp.Unnest) and node.args.get("offset"):
        return "UNNEST … WITH OFFSET is not supported; use ROW_NUMBER()"
    if isinstance(node, exp.Extract):
        part = "WEEK" if isinstance(node.this, exp.WeekStart) else node.name.upper()
        if part in _COUNTED_ELSEWHERE:
            return f"EXTRACT({part} …) is not supported; {_COUNTED_ELSEWHERE[part]}"
    return None


def mend(node: exp.Expr) -> None:
    """Rewrite one node in place so that DuckDB gives BigQuery's answer."""
    match node:
        case exp.DataType() if node.this in _NUMERIC_TYPES and not node.expressions:
            parts = [exp.DataTypeParam(this=exp.Literal.number(n)) for n in _NUMERIC]
            node.set("this", exp.DataType.Type.DECIMAL)
            node.set("expressions", parts)
        case exp.Extract() if node.name.upper() == "DAYOFWEEK":
            # Sunday is 1 there, and 0 here.
            _wrap(node, exp.Paren(this=exp.Add(expression=exp.Literal.number(1))))
        case exp.Extract() if node.name.upper() == "ISOWEEK":
            node.set("this", exp.var("WEEK"))
        case exp.TimestampDiff():
            # Whole hours that passed, not how often the clock struck.
            unit = exp.Literal.string(node.text("unit").lower())
            _call(node, "DATE_SUB", [unit, node.expression, node.this])
        case exp.TimestampTrunc() if node.text("unit").upper() == "HOUR" and node.args.get("zone"):
            # An hour of India begins half an hour beside UTC's. Minutes of local time are taken
            # off the instant, so that the hour that a clock strikes twice stays two.
            zone = node.args["zone"]
            local = exp.AtTimeZone(this=exp.to_identifier("_t"), zone=zone)
            struck = exp.Anonymous(
                this="DATE_TRUNC", expressions=[exp.Literal.string("hour"), local.copy()]
            )
            past = exp.Paren(this=exp.Sub(this=local, expression=struck))
            begun = exp.Sub(this=exp.to_identifier("_t"), expression=past)
            _in_lambda(node, node.this, begun)
        case exp.Datetime() if isinstance(node.expression, exp.Parameter):
            # There are no parameters of type TIME: it names a zone.
            node.replace(exp.AtTimeZone(this=node.this, zone=node.expression))
        case exp.Timestamp() if isinstance(node.args.get("zone"), exp.Parameter):
            at = exp.Cast(this=node.this, to=exp.DataType.build("timestamp", dialect="duckdb"))
            node.replace(exp.AtTimeZone(this=at, zone=node.args["zone"]))
        case exp.Format():
            _call(node, "PRINTF", [node.this, *node.expressions])
        case exp.DateAdd() | exp.DateSub():
            _wrap(node, exp.Cast(to=exp.DataType.build("date")))
        case exp.DateTrunc() if _whole_days(node.args.get("unit")):
            _wrap(node, exp.Cast(to=exp.DataType.build("date")))


def _whole_days(unit: exp.Expr | None) -> bool:
    return isinstance(unit, exp.WeekStart) or (
        unit is not None and unit.name.upper() in _DAYS_OR_LONGER
    )


def _wrap(node: exp.Expr, wrapper: exp.Expr) -> None:
    """Put `wrapper` in the node's place, and the node into its innermost `this`."""
    node.replace(wrapper)
    while isinstance(inner := wrapper.args.get("this"), exp.Expr):
        wrapper = inner
    wrapper.set("this", node)


def _in_lambda(node: exp.Expr, value: exp.Expr, body: exp.Expr) -> None:
    """Put `body` of a value, which it calls _t, in the node's place; the value stays one."""
    function = exp.Lambda(this=body, expressions=[exp.to_identifier("_t")])
    listed = exp.Anonymous(this="LIST_VALUE", expressions=[value])
    mapped = exp.Anonymous(this="LIST_TRANSFORM", expressions=[listed, function])
    _call(node, "LIST_EXTRACT", [mapped, exp.Literal.number(1)])


def _call(node: exp.Expr, name: str, arguments: list[exp.Expr]) -> None:
    node.replace(exp.Anonymous(this=name, expressions=arguments))
