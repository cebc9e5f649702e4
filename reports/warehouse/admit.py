"""Lets SQL in: one statement, in BigQuery's dialect, that can only read what it may see.

Two walls. The query is parsed and refused if it is anything but one SELECT over known tables.
And what is let through is rewritten so that a table name can mean nothing else: a known table is
named with its schema, a WITH query gets a prefix that no object of the database has. A name that
was judged wrongly is then a name that does not exist, never a file or a system table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Set
from dataclasses import dataclass
from itertools import pairwise

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, TokenError, UnsupportedError

from reports.warehouse.dialect import mend, refusal
from reports.warehouse.parameters import NAME

# The parser warns of statements that it only half knows; here they are refused with a message.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

CTE_PREFIX = "cte_"
_SCHEMA = "main"
# Functions that sqlglot does not know by type, but that only compute.
_PLAIN_FUNCTIONS = {
    "json_query_array", "json_value_array", "bit_count", "unix_seconds", "string", "int64",
    "ends_with", "approx_quantiles", "last_day", "format_date",
}  # fmt: skip
_FORBIDDEN = (
    exp.DDL, exp.DML, exp.Command, exp.Into, exp.ReadCSV, exp.ReadParquet, exp.Pragma,
)  # fmt: skip
_TOO_DEEP = "the query is nested too deeply; split it with WITH"
_UNREADABLE = "unreadable SQL: look at the arguments of its functions"
# Where a name stands, which no parameter can be.
_NAMING = {
    (exp.Alias, "alias"), (exp.Column, "this"), (exp.Dot, "expression"), (exp.Star, "except_"),
    (exp.Extract, "this"),
}  # fmt: skip
# Its offset counts from the start of the text, whatever the line it names.
_UNENDED_QUOTE = re.compile(r"Missing (\S+) from \d+:(\d+)")


class NotAdmitted(ValueError):
    """The query may not run; the message says what is wrong, where, and what to do.

    line, column: from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


@dataclass(frozen=True)
class Admitted:
    """A query that may run.

    sql:        in DuckDB's dialect
    tables:     the tables it reads
    places:     (line, column), from 1, where each name was first written, by name in lower case
    parameters: names, in lower case, of those that it has: `$name` in `sql`
    """

    sql: str
    tables: frozenset[str]
    places: dict[str, tuple[int, int]]
    parameters: frozenset[str] = frozenset()


def admit(sql: str, tables: Set[str], parameters: Collection[str] = ()) -> Admitted:
    """The query, ready to run. `tables` are the only names it may read.

    parameters: names, in lower case, that have a value

    Raises NotAdmitted for anything but one SELECT over these tables.
    """
    try:
        query = parsed(sql)
        nodes = list(query.walk())
        places = {node.name.lower(): _place(sql, node) for node in reversed(nodes) if node.meta}
        for node in nodes:
            _check(sql, node)
        bound = {_bind(sql, n, parameters) for n in nodes if isinstance(n, exp.Parameter)}
        used = _rewrite(sql, nodes, tables)
        text = query.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE, comments=False)
    except NotAdmitted:
        raise
    except UnsupportedError as error:
        raise NotAdmitted(f"not possible on this warehouse: {error}") from error
    except RecursionError:
        raise NotAdmitted(_TOO_DEEP) from None
    except Exception as error:  # the writer trips over some calls with too few arguments
        raise NotAdmitted(_UNREADABLE) from error
    known = {name: place for name, place in places.items() if place is not None}
    return Admitted(text, frozenset(used), known, frozenset(bound))


def parsed(sql: str) -> exp.Query:
    """The one SELECT that it is, not yet judged. Raises NotAdmitted."""
    try:
        found = sqlglot.parse(sql, dialect="bigquery")
    except ParseError as error:
        raise _misread(error) from error
    except TokenError as error:
        raise _unended(sql, error) from error
    except RecursionError:
        raise NotAdmitted(_TOO_DEEP) from None
    except Exception as error:  # the parser trips over some calls with too few arguments
        raise NotAdmitted(_UNREADABLE) from error
    statements = [s for s in found if s is not None and not isinstance(s, exp.Semicolon)]
    if not statements:
        raise NotAdmitted("there is no query; type a SELECT")
    if len(statements) > 1:
        raise _refused(sql, statements[1], f"{len(statements)} statements; run one at a time")
    if not isinstance(statements[0], exp.Query):
        first = sqlglot.tokenize(sql, dialect="bigquery")[0]
        message = f"{first.text.upper()} is not allowed: only SELECT can run"
        raise NotAdmitted(message, *_line_column(sql, first.start))
    return statements[0]


def _misread(error: ParseError) -> NotAdmitted:
    first = error.errors[0] if error.errors else {}
    message = first.get("description") or str(error)
    # A token that the parser quotes whole, with its offsets, is of no use to a reader.
    message = message.split(" but got <Token")[0].split(" for <class")[0]
    column = first.get("col")
    if column is not None:  # the parser names the token's last column
        column = max(1, column - len(first.get("highlight") or " ") + 1)
    return NotAdmitted(message, first.get("line"), column)


def _unended(sql: str, error: TokenError) -> NotAdmitted:
    """A quote or a comment without an end: where it begins."""
    quote = _UNENDED_QUOTE.fullmatch(str(error.__cause__))
    if quote:
        message = f"the quote {quote[1]} has no end"
        return NotAdmitted(message, *_line_column(sql, int(quote[2])))
    comment = sql.find("/*", sql.rfind("*/") + 1)
    if comment >= 0:
        return NotAdmitted("the comment /* has no end", *_line_column(sql, comment))
    return NotAdmitted("unreadable SQL: a quote or a comment has no end")


def _refused(sql: str, node: exp.Expr, message: str) -> NotAdmitted:
    return NotAdmitted(message, *(_place(sql, node) or (None, None)))


def _check(sql: str, node: exp.Expr) -> None:
    """Nothing that writes, calls what is unknown, or means something else in DuckDB."""
    if isinstance(node, _FORBIDDEN):
        raise _refused(sql, node, f"{node.key.upper()} is not allowed: queries only read")
    if isinstance(node, exp.Placeholder):
        raise _refused(sql, node, "a parameter has a name here: write @name")
    if isinstance(node, exp.SessionParameter):
        raise _refused(sql, node, "there are no system variables")
    if isinstance(node, exp.Anonymous) and node.name.lower() not in _PLAIN_FUNCTIONS:
        raise _refused(sql, node, f"function {node.name} is not known here")
    if isinstance(node, exp.Table):
        _check_table(sql, node)
    if why := refusal(node):
        raise _refused(sql, node, why)


def _bind(sql: str, node: exp.Parameter, given: Collection[str]) -> str:
    """The parameter's name; in the query it is in lower case from now on."""
    if isinstance(node.parent, exp.Parameter) or isinstance(node.this, exp.Parameter):
        raise NotAdmitted("there are no system variables")
    written = node.name
    name = written.lower()
    place = _place_of_parameter(sql, name) or (None, None)
    if not NAME.fullmatch(written):
        raise NotAdmitted(f"@{written}: a parameter's name is letters, digits and _", *place)
    if (type(node.parent), node.arg_key) in _NAMING:
        raise NotAdmitted(f"@{written}: a parameter is a value, never a name", *place)
    if name not in given:
        known = ", ".join(f"@{one}" for one in sorted(given))
        have = f"given are {known}" if known else f'send it: {{"parameters": {{"{name}": …}}}}'
        raise NotAdmitted(f"@{written} has no value; {have}", *place)
    node.set("this", exp.var(name))
    return name


def _place_of_parameter(sql: str, name: str) -> tuple[int, int] | None:
    """Where it is first written: the parser keeps no place of it."""
    tokens = sqlglot.tokenize(sql, dialect="bigquery")
    for sign, word in pairwise(tokens):
        if sign.token_type is TokenType.PARAMETER and word.text.lower() == name:
            return _line_column(sql, sign.start)
    return None


def _check_table(sql: str, node: exp.Table) -> None:
    if isinstance(node.this, exp.Parameter):
        name = node.this.name
        place = _place_of_parameter(sql, name.lower()) or (None, None)
        raise NotAdmitted(f"@{name}: a parameter is a value, never the name of a table", *place)
    if not isinstance(node.this, exp.Identifier):
        raise _refused(sql, node, "table functions are not allowed; read one of the tables by name")
    if node.db or node.catalog:
        name = node.sql(dialect="bigquery")
        raise _refused(sql, node, f"{name}: name the table alone, without a dataset")


def _rewrite(sql: str, nodes: list[exp.Expr], tables: Set[str]) -> set[str]:
    """Make every name mean one thing only, in place; the known tables that are read."""
    used = set()
    found = [n for n in nodes if isinstance(n, exp.Table)]
    ours = {id(node): _is_cte(node) for node in found}
    for node in found:
        name = node.name
        if not ours[id(node)]:
            if name.lower() not in tables:
                known = ", ".join(sorted(tables))
                raise _refused(sql, node, f"there is no table {name!r}; there are {known}")
            used.add(name.lower())
        if not node.alias and not node.args.get("pivots"):
            node.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        if ours[id(node)]:
            node.set("this", exp.to_identifier(CTE_PREFIX + name.lower(), quoted=True))
        else:
            node.set("this", exp.to_identifier(name.lower(), quoted=True))
            node.set("db", exp.to_identifier(_SCHEMA, quoted=True))
    for other in nodes:
        if isinstance(other, exp.CTE):
            alias = CTE_PREFIX + other.alias.lower()
            other.args["alias"].set("this", exp.to_identifier(alias, quoted=True))
        else:
            mend(other)
    return used


def _is_cte(node: exp.Table) -> bool:
    """Does the name mean a WITH query here? Its own name only counts inside WITH RECURSIVE."""
    name = node.name.lower()
    inner: exp.Expr = node
    scope: exp.Expr | None = node.parent
    while scope is not None:
        if isinstance(scope, exp.With):
            for cte in scope.expressions:
                if cte is inner and not scope.args.get("recursive"):
                    break
                if cte.alias.lower() == name:
                    return True
                if cte is inner:
                    break
            # The query that owns this WITH sees the rest of it, which this place does not.
            inner, scope = scope, scope.parent
            if scope is not None:
                inner, scope = scope, scope.parent
            continue
        with_ = scope.args.get("with_")
        if with_ is not None and any(cte.alias.lower() == name for cte in with_.expressions):
            return True
        inner, scope = scope, scope.parent
    return False


def _place(sql: str, node: exp.Expr) -> tuple[int, int] | None:
    """Line and column, from 1, where the node begins."""
    for part in node.walk():
        if "start" in part.meta:
            return _line_column(sql, part.meta["start"])
    return None


def _line_column(sql: str, offset: int) -> tuple[int, int]:
    before = sql[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")
