"""The catalogue is whole: every code, every setting, every control's test, and the limits an operator may change."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.config_risk import RiskConfig, SymbolLimits
from sentinel.engine.layout import SYMBOL_LIMITS, LimitField
from sentinel.engine.risk.catalogue import CONTROLS, NOT_CONTROLS, ControlEntry, Where, control_of
from sentinel.engine.risk.limits import LIMITS
from sentinel.wire import Control

ROOT = Path(__file__).resolve().parents[3]
#: Settings of [risk] that bound no order: how long an answer may take, and the tables of symbols, whose limits are there too.
NO_LIMITS = {"engine_timeout_ms", "symbols"}
#: What is told as a limit and is none: where losses count from, and the restricted list.
NO_ROWS = {LimitField.PEAK_EQUITY, LimitField.LOSS_BASE, LimitField.RESTRICTED, LimitField.RESTRICTED_ISSUED}


def _marked() -> dict[str, list[str]]:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, list[str]] = module.marked_tests()
    return found


def test_ids_are_unique_and_every_id_of_the_groups_is_there() -> None:
    ids = Counter(entry.id for entry in CONTROLS)
    assert max(ids.values()) == 1
    groups = {"A": 6, "B": 12, "C": 8, "D": 10, "E": 16}
    assert {f"{group}{k}" for group, count in groups.items() for k in range(1, count + 1)} <= set(ids)


def test_every_wire_code_is_some_controls() -> None:
    assert {code for code in Control if control_of(code) is None} == set(NOT_CONTROLS)


def test_every_control_has_a_test() -> None:
    marked = _marked()
    wanted = {entry.id for entry in CONTROLS if entry.where not in (Where.NOWHERE, Where.FIRM)}
    assert wanted - set(marked) == set(), 'mark its acceptance test with @pytest.mark.control("ID")'
    assert set(marked) - wanted == set(), "no such control"


@pytest.mark.parametrize("entry", CONTROLS, ids=lambda entry: entry.id)
def test_entry_names_settings_and_code_that_exist(entry: ControlEntry) -> None:
    for parameter in entry.parameters:
        section, _, name = parameter.path.partition(".")
        kind: Any = Config.model_fields[section].annotation
        assert name in kind.model_fields, parameter.path
        assert parameter.unit
    for module in entry.module.split(", ") if entry.module else ():
        assert (ROOT / "sentinel" / module).exists(), module
    assert entry.about.endswith(".")


def test_every_limit_of_the_settings_belongs_to_a_control() -> None:
    named = {parameter.path.removeprefix("risk.") for entry in CONTROLS for parameter in entry.parameters}
    assert set(RiskConfig.model_fields) - named == NO_LIMITS
    assert set(SymbolLimits.model_fields) == set(SYMBOL_LIMITS) <= named & {row.name for row in LIMITS}


def test_every_limit_field_has_its_row_with_the_bounds_of_its_setting() -> None:
    rows = {row.field: row for row in LIMITS}
    assert set(LimitField) - set(rows) == NO_ROWS
    for row in LIMITS:
        key = row.name.replace("_error_ns", "_error_us").replace("_age_ns", "_age_s")
        scale = {"_ns": 1_000 if key.endswith("_us") else 1_000_000_000}.get(row.name[-3:], 1)
        bounds = {
            name: getattr(rule, name)
            for rule in RiskConfig.model_fields[key].metadata
            for name in ("ge", "le")
            if hasattr(rule, name)
        }
        if "le" in bounds and row.field not in (LimitField.MAX_OPEN_ORDERS, LimitField.PRICE_COLLAR_BPS):
            assert row.most == bounds["le"] * scale, row.name
        if "ge" in bounds:
            # A setting of 0 may turn a control off; a change at run time may not.
            assert row.least <= max(bounds["ge"] * scale, 1), row.name
