"""The stores of live numbers that there are; Bigtable and BigQuery on their emulators."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipelines.connectors.live import LiveStoreError, open_store, split_uris
from beam_pipelines.connectors.live.bigtable_admin import FAMILY
from beam_pipelines.connectors.uri import UriError
from tests.bigquery_emulator import DATASET, PROJECT, bigquery_in_environment, google_client
from tests.bigtable_emulator import bigtable_in_environment
from tests.contracts.live_store import LiveStoreContract, frame, pane
from tests.emulators import Emulator
from tests.streams import NOON

# Google's client says so in words of a warning; it is what is wanted here.
pytestmark = pytest.mark.filterwarnings("ignore:Connecting to Bigtable emulator")


@pytest.fixture(scope="module")
def bigtable() -> Iterator[Emulator]:
    with bigtable_in_environment() as running:
        yield running


@pytest.fixture(scope="module")
def bigquery() -> Iterator[Emulator]:
    with bigquery_in_environment() as running:
        yield running


def new_name() -> str:
    return f"live_{secrets.token_hex(4)}"


class TestSqlite(LiveStoreContract):
    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return f"sqlite:{tmp_path}/new/live.db"


@pytest.mark.journey
class TestBigtable(LiveStoreContract):
    @pytest.fixture
    def uri(self, bigtable: Emulator) -> str:
        return f"bigtable:{PROJECT}/live/{new_name()}"

    def test_a_table_of_somebody_else_is_left_alone(self, uri) -> None:
        from google.cloud.bigtable import Client

        _, instance, table = uri.removeprefix("bigtable:").split("/")
        admin = Client(project=PROJECT, admin=True)
        parent = f"projects/{PROJECT}/instances/{instance}"
        admin.table_admin_client.create_table(
            request={"parent": parent, "table_id": table, "table": {}}
        )
        with pytest.raises(LiveStoreError, match=f"without a column family '{FAMILY}'"):
            open_store(uri)
        admin.close()

    def test_old_versions_and_minutes_are_collected_by_rule(self, uri) -> None:
        from google.cloud.bigtable import Client

        open_store(uri).close()
        _, instance, table = uri.removeprefix("bigtable:").split("/")
        admin = Client(project=PROJECT, admin=True)
        found = admin.table_admin_client.get_table(
            request={"name": f"projects/{PROJECT}/instances/{instance}/tables/{table}"}
        )
        rules = found.column_families[FAMILY].gc_rule.union.rules
        assert rules[0].max_num_versions == 1
        assert rules[1].max_age.days >= 5 * 365
        admin.close()


@pytest.mark.journey
class TestBigQuery(LiveStoreContract):
    @pytest.fixture
    def uri(self, bigquery: Emulator) -> str:
        return f"bigquery:{PROJECT}/{DATASET}/{new_name()}"

    def test_the_view_shows_what_analysts_should_see(self, uri, store) -> None:
        for total, run, index in ((5, 1, 0), (9, 1, 1), (4, 2, 0), (9, 1, 1)):
            store.upsert(frame([pane(total, run, index)]), run, None)
        name = uri.replace(f"bigquery:{PROJECT}/", "").replace("/", ".")
        with google_client() as google:
            rows = google.query(f"SELECT total FROM `{name}_newest`").result()
            assert [row["total"] for row in rows] == [4]
            everything = google.query(f"SELECT COUNT(*) AS n FROM `{name}`").result()
            assert [row["n"] for row in everything] == [4]


@pytest.mark.journey
@pytest.mark.parametrize("kind", ["bigtable", "bigquery"])
def test_a_store_that_hangs_is_named_and_goes_on_afterwards(
    kind: str, request: pytest.FixtureRequest
) -> None:
    emulator: Emulator = request.getfixturevalue(kind)
    where = {"bigtable": f"{PROJECT}/live", "bigquery": f"{PROJECT}/{DATASET}"}[kind]
    store = open_store(f"{kind}:{where}/{new_name()}")
    token = store.begin(1)
    emulator.hang()
    try:
        with pytest.raises(LiveStoreError, match=kind):
            store.upsert(frame([pane(1)]), token, None)
    finally:
        emulator.go_on()
    store.upsert(frame([pane(2, index=1)]), token, None)
    assert store.read("demo", "events", NOON, NOON + 1)["total"].to_list() == [2]
    store.close()


def test_addresses_that_are_none_name_what_is_wanted() -> None:
    for bad in ("", "redis:x", "sqlite:", "bigtable:p/i", "bigquery:p", "bigquery:p//t"):
        with pytest.raises(UriError, match="must look like"):
            open_store(bad)


def test_several_stores_are_named_once_each() -> None:
    assert split_uris("sqlite:a, bigtable:p/i/t") == ("sqlite:a", "bigtable:p/i/t")
    with pytest.raises(UriError, match="twice"):
        split_uris("sqlite:a,sqlite:a")
