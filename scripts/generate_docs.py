"""Writes the reference pages that come from the code: docs/config.md, docs/records.md, docs/commands.md, docs/controls.md,
and the tests of each control for the compliance report.

Run it after a change of the settings, the records or the command line; a test compares the pages with the code.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from enum import IntEnum, StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sentinel import wire
from sentinel.cli.main import app
from sentinel.config import Config
from sentinel.engine.risk.catalogue import CONTROLS, Parameter
from sentinel.units import format_e8_short

TESTS = Path(__file__).resolve().parent.parent / "tests"
DOCS = Path(__file__).resolve().parent.parent / "docs"
#: Shipped with the package, so that the compliance report names each control's tests without them.
ACCEPTANCE = Path(__file__).resolve().parent.parent / "sentinel" / "ops" / "compliance" / "tests.json"
_NOTE = "<!-- Written by scripts/generate_docs.py; change the code, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Every generated page: file name under docs/ and its whole text."""
    return {
        "config.md": config_page(),
        "records.md": records_page(),
        "commands.md": commands_page(),
        "controls.md": controls_page(),
    }


def _table(columns: list[str], rows: list[list[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [columns, *rows]]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]]) + "\n"


# --- settings


def config_page() -> str:
    """The settings by section: type, default, range and meaning of every key."""
    top = {name: field for name, field in Config.model_fields.items() if not _section(field)}
    parts = [
        _NOTE,
        "# Settings\n\nOne run is described by one TOML file, given to `sentinel run --config FILE`. Only `[venue]` and\n"
        "`[feed]` need values; everything else has a default. An unknown key or a value out of range ends the start\n"
        'with a message that says what to change. Money is written as a decimal string, for example `"25000.00"`,\n'
        "or as a whole number.\n\n",
        f"## Top level\n\n{_section_table(top)}\n",
    ]
    for name, field in Config.model_fields.items():
        kind = _section(field)
        if kind is not None:
            # Without one of its own, a section would show the docstring it inherits.
            intro = inspect.cleandoc(kind.__doc__) + "\n\n" if "__doc__" in vars(kind) and kind.__doc__ else ""
            parts.append(f"## [{name}]\n\n{intro}{_section_table(kind.model_fields)}\n")
            for key, table in _tables_of(kind):
                about = inspect.cleandoc(table.__doc__ or "")
                parts.append(f"## [{name}.{key}.NAME]\n\n{about}\n\n{_section_table(table.model_fields)}\n")
    return "".join(parts).rstrip() + "\n"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _tables_of(kind: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Keys of a section that hold a table of settings for each name, each explained."""
    for key, field in kind.model_fields.items():
        values = get_args(field.annotation)[1:] if get_origin(field.annotation) is dict else ()
        kinds = [one for one in values if isinstance(one, type) and issubclass(one, BaseModel)]
        yield from ((key, one) for one in kinds if all(setting.description for setting in one.model_fields.values()))


def _section_table(fields: dict[str, FieldInfo]) -> str:
    rows = [
        [f"`{name}`", _type_name(field), _default(field), _range(field), field.description or ""]
        for name, field in fields.items()
    ]
    return _table(["key", "type", "default", "allowed", "meaning"], rows)


def _is_money(field: FieldInfo) -> bool:
    return any("_money" in repr(rule) for rule in (*field.metadata, field.annotation))


def _type_name(field: FieldInfo) -> str:
    if _is_money(field):
        return "table of money" if get_origin(field.annotation) is dict else "money"
    return _plain_type(field.annotation)


def _plain_type(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "choice"
    if origin is Annotated:
        return _plain_type(get_args(kind)[0])
    if origin is dict:
        return "table"
    if origin is list:
        return f"list of {_plain_type(get_args(kind)[0])}"
    if origin in (Union, UnionType):
        return " or ".join(_plain_type(part) for part in get_args(kind) if part is not NoneType)
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}[kind.__name__]


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "empty"
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (str, Path)):
        return f'`"{value}"`'
    return f"`{value}`"


def _range(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f'`"{value}"`' if isinstance(value, str) else f"`{value}`" for value in get_args(field.annotation))
    if _is_money(field):
        return f"0 to {format_e8_short(2**63 - 1)}"
    found = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le", "max_length") if hasattr(rule, name)
    }
    words = []
    if "gt" in found:
        words.append(f"above {found['gt']:,g}")
    if "ge" in found and "le" in found:
        return f"{found['ge']:,} to {found['le']:,}"
    if "le" in found:
        words.append(f"up to {found['le']:,g}")
    if "max_length" in found:
        words.append(f"at most {found['max_length']:,}")
    return ", ".join(words)


# --- records


def records_page() -> str:
    """The byte layout of every record and the values of every enumeration, with wire.py's own comments."""
    source = inspect.getsource(wire).splitlines()
    tree = ast.parse("\n".join(source))
    parts = [_NOTE, "# Records\n\n", inspect.cleandoc(wire.__doc__ or ""), "\n\n## Layouts\n\n"]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = getattr(wire, node.targets[0].id)
            if isinstance(value, np.dtype):
                comment = "\n".join(_comment_above(source, node.lineno))
                parts.append(f"### {node.targets[0].id}\n\n{comment}\n\n" if comment else f"### {node.targets[0].id}\n\n")
                parts.append(_layout_table(value) + "\n")
    parts.append("## Values\n\n")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and issubclass(getattr(wire, node.name), IntEnum | wire.IntFlag):
            parts.append(
                f"### {node.name}\n\n{ast.get_docstring(node) or ''}".rstrip() + "\n\n" + _values_table(node, source) + "\n"
            )
    return "".join(parts).rstrip() + "\n"


def _comment_above(source: list[str], line: int) -> list[str]:
    found: list[str] = []
    for text in reversed(source[: line - 1]):
        if not text.startswith("# "):
            break
        found.insert(0, text.removeprefix("# "))
    return found


def _layout_table(dtype: np.dtype[Any]) -> str:
    assert dtype.fields is not None
    fields = sorted((entry[1], name, entry[0]) for name, entry in dtype.fields.items())
    return _table(
        ["offset", "bytes", "type", "field"],
        [[str(o), str(kind.itemsize), _dtype_name(kind), f"`{name}`"] for o, name, kind in fields],
    )


def _dtype_name(kind: np.dtype[Any]) -> str:
    count = f"[{kind.shape[0]}]" if kind.shape else ""
    return f"{kind.base.name}{count}"


def _values_table(node: ast.ClassDef, source: list[str]) -> str:
    rows = []
    for member in node.body:
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name) and isinstance(member.value, ast.Constant):
            _, _, comment = source[member.lineno - 1].partition("  # ")
            rows.append([str(member.value.value), f"`{member.targets[0].id}`", comment])
    return _table(["value", "name", "meaning"], rows)


# --- commands


def commands_page() -> str:
    """Every command with its options and its example."""
    root = typer.main.get_command(app)
    about = inspect.cleandoc(root.help or "")
    parts = [_NOTE, f"# Commands\n\n{about}\n\nWith `--json` the last line of stdout is one object: [its keys](json.md).\n\n"]
    parts += [_command_section(path, command) for path, command in _leaves(root, "sentinel")]
    return "".join(parts).rstrip() + "\n"


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
    else:
        for name, child in children.items():
            yield from _leaves(child, f"{path} {name}")


def _command_section(path: str, command: Any) -> str:
    rows = [
        [f"`{_option_name(option)}`", _option_default(option), option.help or ""]
        for option in command.params
        if option.name != "help"
    ]
    about, example = inspect.cleandoc(command.help), (command.epilog or "").removeprefix("Example: ")
    options = _table(["option", "default", "meaning"], rows)
    return f"## {path}\n\n{about}\n\n```\n{example}\n```\n\n{options}\n"


def _option_name(option: Any) -> str:
    if option.param_type_name == "argument":
        return str(option.metavar)
    if option.is_flag:
        return str(option.opts[0])
    value = "|".join(type(option.default)) if isinstance(option.default, StrEnum) else option.metavar
    return f"{option.opts[0]} {value}"


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    if option.default is None or option.default is False or option.default == "":
        return ""
    return f"`{getattr(option.default, 'value', option.default)}`"


# --- controls


def controls_page() -> str:
    """Every control of the catalogue with its settings, and the tests marked with its id."""
    tests = marked_tests()
    parts = [
        _NOTE,
        "# Controls\n\n"
        "What an order passes before it leaves, and what stops trading without one. In the engine every control is an\n"
        "integer function of its own, asked on each order, cheapest and most final first; a missing input refuses. A\n"
        "refusal names the control, what it saw and its limit, and is in the journal and the audit trail. Cancels\n"
        "pass every control. Controls that bound new exposure let orders pass that only reduce a position. Code is\n"
        "below `sentinel/`, settings are in [settings](config.md#risk), wire codes in [records](records.md#control).\n"
        "The anchors are the rules a control is modelled on; no conformity is claimed.\n\n"
        "Some defaults are wider than where firms usually begin. What is traded here are thin symbols in a pump: they jump by\n"
        "percents within a spread (B3), are quiet for seconds (B5), and buying back what was sold needs most of the cash (D3).\n"
        "The drawdown (D6) is the widest of four losses that stop: within a minute, two of the day, from the peak. Of the\n"
        "venue's request limits a tenth is kept for cancels (C1); orders themselves are far below them. For major symbols set\n"
        "the collar to 50 basis points and the age of a quote to 250 ms.\n\n",
        _table(
            ["id", "control", "what", "setting, default", "unit, allowed", "action", "where", "anchor"], list(_control_rows())
        ),
        "\n## Tests\n\nThe acceptance tests of each control.\n\n",
        _table(["id", "tests"], [[entry.id, "<br>".join(tests.get(entry.id, [f"none: {entry.where}"]))] for entry in CONTROLS]),
    ]
    return "".join(parts).rstrip() + "\n"


def _control_rows() -> Iterator[list[str]]:
    for entry in CONTROLS:
        settings = [_setting(parameter) for parameter in entry.parameters]
        where = f"{entry.where}: `{entry.module}`" if entry.module else str(entry.where)
        codes = ", ".join(f"`{code.name}`" for code in entry.codes)
        yield [
            entry.id,
            f"{entry.name}<br>{codes}" if codes else entry.name,
            entry.about,
            "<br>".join(text for text, _ in settings),
            "<br>".join(bounds for _, bounds in settings),
            ", ".join(entry.actions),
            where,
            entry.anchor,
        ]


def _setting(parameter: Parameter) -> tuple[str, str]:
    """A setting with its default, and its unit with its bounds."""
    section, _, name = parameter.path.partition(".")
    kind = _section(Config.model_fields[section])
    assert kind is not None
    field = kind.model_fields[name]
    bounds = _range(field)
    return f"`{parameter.path}` {_default(field)}", f"{parameter.unit}, {bounds}" if bounds else parameter.unit


def marked_tests() -> dict[str, list[str]]:
    """Tests by the id of the control they are marked with, as ``path::name`` below tests/, without importing any."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "mark.control" in text else ():
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.control":
                    for argument in mark.args:
                        name = f"`{path.relative_to(TESTS)}::{getattr(node, 'name', '')}`"
                        found.setdefault(ast.literal_eval(argument), []).append(name)
    return found


def acceptance_tests() -> str:
    """The tests of each control as JSON."""
    tests = marked_tests()
    found = {entry.id: [name.strip("`") for name in tests.get(entry.id, [])] for entry in CONTROLS}
    return json.dumps(found, indent=1) + "\n"


def main() -> None:
    """Write every page that changed."""
    for name, page in pages().items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")
            print(f"wrote docs/{name}")
    ACCEPTANCE.write_text(acceptance_tests(), encoding="utf-8")


if __name__ == "__main__":
    main()
