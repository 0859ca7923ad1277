"""The control register: each control of the catalogue, the value in force, how often it fired, and its tests."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from sentinel.config import Config
from sentinel.engine.risk.catalogue import CONTROLS, NOT_CONTROLS, ControlEntry, Parameter
from sentinel.ops.compliance.evidence import Evidence
from sentinel.ops.compliance.firings import Firings
from sentinel.ops.compliance.limits import shown_setting
from sentinel.wire import Control


def acceptance_tests() -> dict[str, list[str]]:
    """Tests by control id, as scripts/generate_docs.py found them when this version was made."""
    text = files("sentinel.ops.compliance").joinpath("tests.json").read_text(encoding="utf-8")
    found: dict[str, list[str]] = json.loads(text)
    return found


def control_register(firings: Firings, evidence: Evidence, config: Config | None) -> list[dict[str, Any]]:
    """One dict per control of the catalogue, in its order."""
    tests = acceptance_tests()
    return [_entry(entry, tests.get(entry.id, []), firings, evidence, config) for entry in CONTROLS]


def other_codes(firings: Firings) -> dict[str, Any]:
    """Codes in the trail that are no control's of this version."""
    known = {code.name for entry in CONTROLS for code in entry.codes}
    return {code: firing.as_dict() for code, firing in sorted(firings.by_code.items()) if code not in known}


def _entry(entry: ControlEntry, tests: list[str], firings: Firings, evidence: Evidence, config: Config | None) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "about": entry.about,
        "where": str(entry.where),
        "anchor": entry.anchor,
        "actions": [str(action) for action in entry.actions],
        "parameters": [_parameter(parameter, evidence, config) for parameter in entry.parameters],
        "state": _state(entry, firings),
        "codes": {code.name: firings.of(code).as_dict() for code in entry.codes},
        "shared": {code.name: others for code in entry.codes if (others := _others(entry, code))},
        "tests": tests,
    }


def _state(entry: ControlEntry, firings: Firings) -> str:
    if not entry.codes:
        return "leaves no code of its own in the trail"
    fired = any(firings.of(code).refused + firings.of(code).acted for code in entry.codes)
    return "fired" if fired else "never fired in this trail"


def _others(entry: ControlEntry, code: Control) -> list[str]:
    return [other.id for other in CONTROLS if other is not entry and code in other.codes and code not in NOT_CONTROLS]


def _parameter(parameter: Parameter, evidence: Evidence, config: Config | None) -> dict[str, Any]:
    changed = evidence.limits_in_force.get(parameter.path)
    section, _, name = parameter.path.partition(".")
    setting = None if config is None else getattr(getattr(config, section), name)
    return {
        "path": parameter.path,
        "unit": parameter.unit,
        "setting": None if setting is None else shown_setting(parameter.path, setting),
        "in_force": changed if changed is not None else None if setting is None else shown_setting(parameter.path, setting),
        "source": "LIMITS record" if changed is not None else "unknown" if setting is None else "settings",
    }
