"""Makes the Bigtable table of live numbers, with its rules of garbage collection."""

from __future__ import annotations

from datetime import timedelta

from google.api_core import exceptions
from google.cloud.bigtable import Client, column_family

from beam_pipelines.connectors.live.port import LiveStoreError

FAMILY = "pane"
KEPT = timedelta(days=5 * 366)
_WAIT_S = 10.0


def ensure(project: str, instance: str, table: str) -> None:
    """Make the table if it is missing. Raises LiveStoreError naming the remedy if it may not."""
    name = f"bigtable:{project}/{instance}/{table}"
    client = Client(project=project, admin=True)
    path = f"projects/{project}/instances/{instance}/tables/{table}"
    try:
        found = client.table_admin_client.get_table(
            request={"name": path}, timeout=_WAIT_S, retry=None
        )
        if FAMILY not in found.column_families:
            raise LiveStoreError(
                f"{name} is a table without a column family {FAMILY!r}: name one of its own"
            )
    except exceptions.NotFound:
        _create(client, name, instance, table)
    except (exceptions.PermissionDenied, exceptions.Unauthenticated):
        return  # who may write but not look at tables finds out with the first row
    except exceptions.GoogleAPICallError as error:
        raise LiveStoreError(f"live store {name}: {error}") from error
    finally:
        client.close()


def _create(client: Client, name: str, instance: str, table: str) -> None:
    rule = column_family.GCRuleUnion(
        [column_family.MaxVersionsGCRule(1), column_family.MaxAgeGCRule(KEPT)]
    )
    made = {"column_families": {FAMILY: {"gc_rule": rule.to_pb()}}}
    parent = f"projects/{client.project}/instances/{instance}"
    try:
        client.table_admin_client.create_table(
            request={"parent": parent, "table_id": table, "table": made}, timeout=_WAIT_S
        )
    except exceptions.AlreadyExists:
        return  # another worker was faster
    except exceptions.GoogleAPICallError as error:
        raise LiveStoreError(
            f"{name} is missing and could not be made ({error}); make it: "
            f"cbt -instance={instance} createtable {table} "
            f"'families={FAMILY}:maxversions=1||maxage={KEPT.days}d'"
        ) from error
