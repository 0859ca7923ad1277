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
    """An image. ``afi_id`` is one region's and for the EC2 API, ``agfi_id`` is global and what is loaded."""

    afi_id: str
    agfi_id: str
    map_hash: int
    rtl_hash: str
    timing_violated: bool

    def need_clean_timing(self) -> None:
        """Raise CardError for an image that did not meet its timing: no gate is armed on it."""
        if self.timing_violated:
            raise CardError(
                "timing_violated",
                True,
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
    image = CardImage(
        afi_id=_text(path, data, "afi_id"),
        agfi_id=_text(path, data, "agfi_id"),
        map_hash=_number(path, data, "map_hash"),
        rtl_hash=_text(path, data, "rtl_hash"),
        timing_violated=_value(path, data, "timing_violated", bool),
    )
    if not AGFI.fullmatch(image.agfi_id):
        raise CardError("agfi_id", image.agfi_id, "agfi- and 17 hexadecimal digits", f"correct it in {path}")
    if image.map_hash != MAP_HASH:
        raise CardError(
            "map_hash", f"{image.map_hash:#010x}", f"{MAP_HASH:#010x}", "the image has another register map: build it anew"
        )
    return image


def _text(path: Path, data: Any, name: str) -> str:
    return str(_value(path, data, name, str))


def _number(path: Path, data: Any, name: str) -> int:
    value = _value(path, data, name, (str, int))
    try:
        return int(value, 0) if isinstance(value, str) else int(value)
    except ValueError:
        raise _wrong(path, name, value) from None


def _value(path: Path, data: Any, name: str, kind: Any) -> Any:
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise _wrong(path, name, value)
    return value


def _wrong(path: Path, name: str, value: object) -> CardError:
    return CardError(name, value, f"its value in {path}", "write the file anew with sentinel build-afi")
