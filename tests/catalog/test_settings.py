"""Settings: one table, and errors that name variable, value and what is wanted."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from catalog.settings import SETTINGS, SettingError, Settings, read


def test_the_table_and_the_values_are_the_same_list():
    assert [s.name for s in SETTINGS] == [f.name for f in fields(Settings)]
    assert all(s.help.endswith(".") for s in SETTINGS)


def test_types_of_the_defaults_are_those_declared():
    declared = {f.name: f.type for f in fields(Settings)}
    assert {s.name: type(s.default).__name__ for s in SETTINGS} == declared


def test_nothing_set_gives_the_defaults():
    settings = read({"PATH": "/bin", "OTHER": "1"})
    assert all(getattr(settings, s.name) == s.default for s in SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_each_is_read_from_its_variable(setting):
    value = {str: "elsewhere", int: 17, float: 2.5}[type(setting.default)]
    assert getattr(read({setting.variable: str(value)}), setting.name) == value


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("HEADWATER_COLLECTOR_PORT", "http", "is not a whole number; TCP port of the collector"),
        ("HEADWATER_COLLECTOR_PORT", "80.5", "is not a whole number"),
        ("HEADWATER_COLLECTOR_PORT", "", "is not a whole number"),
        ("HEADWATER_COLLECTOR_PORT", "0", "must be above 0"),
        ("HEADWATER_COLLECTOR_PORT", "70000", "must be 1-65535"),
        ("HEADWATER_REPORTS_WORKERS", "-1", "must be above 0"),
        ("HEADWATER_ROLLUP_EVERY_S", "soon", "is not a number"),
        ("HEADWATER_ROLLUP_EVERY_S", "nan", "must be above 0"),
        ("HEADWATER_ROLLUP_EVERY_S", "inf", "must be"),
    ],
)
def test_a_bad_value_is_named(variable, value, wanted):
    with pytest.raises(SettingError) as caught:
        read({variable: value})
    assert f"{variable}={value!r}" in str(caught.value)
    assert wanted in str(caught.value)


def test_a_misspelt_variable_is_named_with_those_there_are():
    with pytest.raises(SettingError) as caught:
        read({"HEADWATER_COLECTOR_PORT": "8080"})
    assert "HEADWATER_COLECTOR_PORT is not a setting" in str(caught.value)
    assert "HEADWATER_COLLECTOR_PORT" in str(caught.value)


def test_paths_are_absolute_and_below_the_data_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read({"HEADWATER_DATA_DIR": "mine"})
    data = Path(tmp_path, "mine")
    assert settings.path("a", "b") == data / "a" / "b"
    assert settings.catalog_url == f"sqlite:///{data}/catalog.db"
    assert settings.events_uri == f"spool:{data}/spool/events"
    assert settings.dead_letters_uri == f"spool:{data}/spool/dead_letters"
    assert settings.live_uri == f"sqlite:{data}/live.db"
    assert settings.archive_uri == f"iceberg:{data}/archive"


def test_everybody_looks_for_the_spool_where_the_bus_says():
    settings = read({"HEADWATER_DATA_DIR": "/data", "HEADWATER_BUS": "spool:/fast"})
    assert settings.events_uri == "spool:/fast/events"
    assert (
        read({"HEADWATER_DATA_DIR": "/data"}).dead_letters_uri == "spool:/data/spool/dead_letters"
    )
