"""What is known of a registered image: the lock file ``afi.json`` that ``sentinel build-afi`` leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.errors import CardError
from sentinel.host.cards.aws_tools import AGFI
from sentinel.host.cards.registers import MAP_HASH


@dataclass(frozen=True)
class CardImage:
    """An image: its global id, which is what is loaded, and whether it missed its timing (None: nothing tells)."""

    agfi: str
    timing_violated: bool | None

    def need_clean_timing(self) -> None:
        """Raise CardError unless the image is known to meet its timing: no gate is armed on another."""
        if self.timing_violated is not False:
            raise CardError(
                "timing_violated",
                self.timing_violated,
                "an image that met its timing",
                "build another image; decisions on paper may use this one",
            )


def read_image(path: Path) -> CardImage:
    """Read ``afi.json``. Raises CardError where it is absent, damaged, or of another register map than this release's."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(
            "afi.json", str(path), "the file that names the registered image", "run sentinel build-afi, or copy the file here"
        ) from None
    except (OSError, ValueError) as error:
        raise CardError(
            "afi.json", str(path), "a readable JSON file", f"write it anew with sentinel build-afi ({error})"
        ) from None
    agfi = _value(path, data, "agfi", str)
    if not AGFI.fullmatch(agfi):
        raise CardError("agfi", agfi, "agfi- and 17 hexadecimal digits", f"correct it in {path}")
    found = _value(path, data, "register_map_hash", str)
    if found != f"{MAP_HASH:#010x}":
        raise CardError("register_map_hash", found, f"{MAP_HASH:#010x}", "the image has another register map: build it anew")
    return CardImage(agfi, _value(path, data, "timing_violated", (bool, type(None))))


def _value(path: Path, data: Any, name: str, kind: Any) -> Any:
    if not isinstance(data, dict) or name not in data or not isinstance(data[name], kind):
        value = data.get(name) if isinstance(data, dict) else None
        raise CardError(name, value, f"its value in {path}", "write the file anew with sentinel build-afi")
    return data[name]
