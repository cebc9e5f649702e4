"""SQLAlchemy's dialect `headwater://HOST:PORT/PROJECT`, for pandas and BI tools; read-only.

`headwater+https://` asks over TLS. The user's part of the address, or the password's, is the token:
`headwater://:hw_t_…@stats.example.org/shop`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from sqlalchemy import exc, types
from sqlalchemy.engine import URL, Connection, default
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.sql import compiler

from headwater import dbapi

_TYPES: dict[str, Any] = {
    "STRING": types.String, "INT64": types.BigInteger, "FLOAT64": types.Float,
    "NUMERIC": types.Numeric, "BOOL": types.Boolean, "DATE": types.Date,
    "DATETIME": types.DateTime, "TIMESTAMP": types.TIMESTAMP, "TIME": types.Time,
    "BYTES": types.LargeBinary,
}  # fmt: skip
_PORTS = {"http": 8081, "https": 443}


class _Names(compiler.IdentifierPreparer):
    def __init__(self, dialect: default.DefaultDialect) -> None:
        super().__init__(dialect, initial_quote="`", escape_quote="\\`")

    def _requires_quotes(self, value: str) -> bool:
        # BigQuery's words are not SQLAlchemy's; quoting is never wrong.
        return True


class _Types(compiler.GenericTypeCompiler):
    """What a CAST calls the types."""

    def visit_BIGINT(self, type_: Any, **kw: Any) -> str:
        """INT64."""
        return "INT64"

    visit_INTEGER = visit_SMALLINT = visit_BIGINT

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:
        """STRING."""
        return "STRING"

    visit_NVARCHAR = visit_CHAR = visit_TEXT = visit_VARCHAR

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        """FLOAT64."""
        return "FLOAT64"

    visit_REAL = visit_DOUBLE = visit_DOUBLE_PRECISION = visit_FLOAT

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:
        """NUMERIC, without digits."""
        return "NUMERIC"

    visit_DECIMAL = visit_NUMERIC

    def visit_BOOLEAN(self, type_: Any, **kw: Any) -> str:
        """BOOL."""
        return "BOOL"

    def visit_BLOB(self, type_: Any, **kw: Any) -> str:
        """BYTES."""
        return "BYTES"

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:
        """TIMESTAMP, an instant."""
        return "TIMESTAMP"


class HeadwaterDialect(default.DefaultDialect):
    """Reads tables and columns; there are no keys, no indexes, and nothing is written."""

    name, driver = "headwater", "http"
    preparer = _Names  # type: ignore[assignment]
    type_compiler_cls = _Types
    supports_statement_cache = True
    supports_native_boolean = True
    supports_native_decimal = True
    supports_alter = False
    supports_sane_rowcount = False
    supports_default_values = False
    supports_empty_insert = False
    postfetch_lastrowid = False
    default_paramstyle = "pyformat"
    max_identifier_length = 300

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The driver."""
        return dbapi

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The address as arguments of `connect`. Raises ArgumentError without a project."""
        scheme = "https" if url.drivername.endswith("+https") else "http"
        if not url.database:
            raise exc.ArgumentError("name the project: headwater://127.0.0.1:8081/PROJECT")
        host = url.host or "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        address = f"{scheme}://{host}:{url.port or _PORTS[scheme]}"
        token = url.password or url.username or ""
        return [address], {"project": url.database, "token": str(token)}

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Does it answer? Raises the driver's error where it does not."""
        dbapi_connection.cursor().execute("SELECT 1")
        return True

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing to do."""

    def _get_server_version_info(self, connection: Connection) -> Any:
        return None

    def _get_default_schema_name(self, connection: Connection) -> str:
        return ""

    def get_schema_names(self, connection: Connection, **kw: Any) -> list[str]:
        """One without a name."""
        return [""]

    def get_table_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """All that SQL can read."""
        return sorted(self._tables(connection))

    def get_view_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """None: they are all called tables."""
        return []

    def has_table(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Is there one?"""
        return not schema and table_name in self._tables(connection)

    def get_columns(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[ReflectedColumn]:
        """Columns of a table with their comments. Raises NoSuchTableError."""
        columns = self._tables(connection).get(table_name)
        if columns is None or schema:
            raise exc.NoSuchTableError(table_name)
        return [
            {
                "name": column["name"],
                "type": _type(column["kind"]),
                "nullable": True,
                "default": None,
                "comment": column["doc"],
            }
            for column in columns
        ]

    def get_pk_constraint(self, connection: Connection, table_name: str, *_: Any, **kw: Any) -> Any:
        """There are no keys."""
        return {"constrained_columns": [], "name": None}

    def get_foreign_keys(self, connection: Connection, table_name: str, *_: Any, **kw: Any) -> Any:
        """There are no keys."""
        return []

    def get_indexes(self, connection: Connection, table_name: str, *_: Any, **kw: Any) -> Any:
        """There are no indexes."""
        return []

    def get_unique_constraints(
        self, connection: Connection, table_name: str, *_: Any, **kw: Any
    ) -> Any:
        """There are no constraints."""
        return []

    def get_check_constraints(
        self, connection: Connection, table_name: str, *_: Any, **kw: Any
    ) -> Any:
        """There are no constraints."""
        return []

    def get_table_comment(self, connection: Connection, table_name: str, *_: Any, **kw: Any) -> Any:
        """Only columns have comments."""
        return {"text": None}

    @staticmethod
    def _tables(connection: Connection) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = connection.connection.dbapi_connection.tables()  # type: ignore[union-attr]
        return found


class HeadwaterHttpsDialect(HeadwaterDialect):
    """The same over TLS."""

    driver = "https"


def _type(kind: str) -> types.TypeEngine[Any]:
    if kind.startswith("ARRAY<"):
        return types.ARRAY(_TYPES.get(kind[6:-1], types.String))
    if kind == "TIMESTAMP":
        return types.TIMESTAMP(timezone=True)
    made: types.TypeEngine[Any] = _TYPES.get(kind, types.String)()
    return made
