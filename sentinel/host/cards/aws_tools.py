"""AWS's command-line tools for an FPGA slot: load, clear, describe, switches and lamps, run as programs.

Their text is the stable interface (the C structures are packed and differ between generations); names and codes are
those of the SDK's ``fpga_common.h``. Every line is matched whole: an unknown one is an error, not a guess.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from enum import IntEnum

from sentinel.errors import CardError

#: Whole seconds: of one tool, of a load with everything the tool does behind it, and of a slot that is busy.
TOOL_S, LOAD_S, BUSY_S = 30.0, 180.0, 60.0


class SlotState(IntEnum):
    """StatusCode of ``fpga-describe-local-image``; the names are the tools', with dashes."""

    LOADED = 0
    CLEARED = 1
    BUSY = 2
    NOT_PROGRAMMED = 3
    AFI_CACHE_IN_PROGRESS = 4
    RL_RELOAD_NEEDED_DROP_PCI_LINK = 5
    LOAD_FAILED = 7


_AGAIN = "wait and try again"
_RELOAD = "clear the slot, then load the image again"
#: ErrorCode: its name and what to do.
ERRORS = {
    0: ("ok", ""),
    3: ("busy", _AGAIN),
    5: ("invalid-afi-id", "load an AGFI (agfi-...) that this account and region may use, and that is available"),
    6: ("afi-load-timeout", _RELOAD),
    11: ("invalid-afi-cmd-api-version", "install the SDK that fits the shell"),
    12: ("cl-id-mismatch", "the image's PCIe ids are not those of its manifest: build it again"),
    13: ("cl-ddr-calib-failed", _RELOAD),
    14: ("unspecified-error", _RELOAD),
    16: ("shell-version-not-supported", "build the image for the shell that is loaded"),
    17: ("afi-power-violation", "the image draws too much power: its clocks are stopped; clear the slot"),
    18: ("dram-data-retention-not-possible", _RELOAD),
    19: ("hardware-busy", _AGAIN),
    20: ("pci-device-missing", "scan the bus again: fpga-describe-local-image -R; restart the instance if it stays away"),
    21: ("afi-command-malformed", "install the SDK that fits the shell"),
    22: ("dram-data-retention-failed", _RELOAD),
    23: ("dram-data-retention-setup-failed", _RELOAD),
    24: ("software-problem", "install the newest SDK"),
    25: ("unresponsive", "the card does not answer: stop and start the instance"),
    26: ("err-rl-reload-needed-drop-pci-link", _RELOAD),
    27: ("err-incompatible-afi-cmd-flags", "install the SDK that fits the shell"),
    28: ("invalid-clkgen-input", "install the SDK that fits the shell"),
    29: ("clkgen-ip-not-found", "install the SDK that fits the shell"),
}
AGFI = re.compile(r"agfi-[0-9a-f]{17}")

_IMAGE = re.compile(r"AFI +(\d+) +(agfi-[0-9a-f]+|none|No AFI) +([a-z-]+) +(\d+) +([a-z-]+) +(-?\d+) +0x([0-9a-f]{8})", re.ASCII)
_DEVICE = re.compile(r"AFIDEVICE +(\d+) +0x([0-9a-f]{4}) +0x([0-9a-f]{4}) +([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")
_METRIC = re.compile(r" *([A-Za-z0-9-]+)=(0x[0-9a-f]+|\d+)")
_METRIC_PROSE = re.compile(r"Metrics|DDR\d|Power consumption.*:|   .*: \d+ watts|Cached agfis:|   agfi-.*|Clock Group .*|[\d ]+")
_LAMPS = re.compile(r"([01]{4})-([01]{4})-([01]{4})-([01]{4})")
_FAILED = re.compile(r"Error: \((-?\d+)\) (.*)")


@dataclass(frozen=True)
class ImageState:
    """What a slot holds. ``agfi`` is None where nothing is loaded; ``address`` is the application function's."""

    slot: int
    agfi: str | None
    state: SlotState
    error: int
    shell_version: int
    vendor: int
    device: int
    address: str

    @property
    def name(self) -> str:
        return self.state.name.lower().replace("_", "-")


class AwsTools:
    """The tools on one slot. Every method raises CardError: tool absent, refused, too slow, or text that is not known."""

    def __init__(self, slot: int) -> None:
        self.slot = slot

    def describe(self) -> ImageState:
        """What is loaded."""
        return parse_image("fpga-describe-local-image", self._run("fpga-describe-local-image"), self.slot)

    def wait_until_idle(self, patience_s: float = BUSY_S) -> ImageState:
        """``describe`` once the slot is neither busy nor caching an image."""
        deadline, pause = time.monotonic() + patience_s, 0.1
        while True:
            found = self.describe()
            if found.state not in (SlotState.BUSY, SlotState.AFI_CACHE_IN_PROGRESS):
                return found
            if time.monotonic() >= deadline:
                raise CardError(f"slot {self.slot}", found.name, "idle", "another program is loading it: wait for that one")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def load(self, agfi: str, patience_s: float = BUSY_S) -> ImageState:
        """Load an image and see that it is there; the tool scans the bus again by itself."""
        if not AGFI.fullmatch(agfi):
            raise CardError("agfi", agfi, "agfi- and 17 hexadecimal digits", "afi.json names it; an afi- id is for the EC2 API")
        self.wait_until_idle(patience_s)
        tool = "fpga-load-local-image"
        found = parse_image(tool, self._run(tool, "-I", agfi, timeout_s=LOAD_S), self.slot)
        _need_no_error(tool, found)
        if found.state != SlotState.LOADED or found.agfi != agfi:
            raise CardError(f"slot {self.slot}", f"{found.name} {found.agfi}", f"loaded {agfi}", _RELOAD)
        return found

    def clear(self, patience_s: float = BUSY_S) -> ImageState:
        """Take the image out."""
        self.wait_until_idle(patience_s)
        tool = "fpga-clear-local-image"
        found = parse_image(tool, self._run(tool, timeout_s=LOAD_S), self.slot)
        _need_no_error(tool, found)
        if found.state != SlotState.CLEARED:
            raise CardError(f"slot {self.slot}", found.name, "cleared", "clear it again; stop the program that uses it")
        return found

    def metrics(self) -> dict[str, int]:
        """The shell's counters and first offending addresses, by the tool's own names; reading changes nothing."""
        tool = "fpga-describe-local-image"
        lines = [line for line in self._run(tool, "-M").splitlines() if line.strip()]
        found: dict[str, int] = {}
        for line in lines:
            match = _METRIC.fullmatch(line)
            if match:
                found.setdefault(match[1], int(match[2], 0))
            elif not (
                _IMAGE.fullmatch(line.strip()) or _DEVICE.fullmatch(line.strip()) or _METRIC_PROSE.fullmatch(line.rstrip())
            ):
                raise _unknown(tool, line)
        return found

    def set_switches(self, bits: int) -> None:
        """Set the 16 virtual DIP switches; switch 0 is the operator's kill."""
        self._run("fpga-set-virtual-dip-switch", "-D", f"{bits:016b}")

    def lamps(self) -> int:
        """The 16 virtual LEDs."""
        tool = "fpga-get-virtual-led"
        lines = self._run(tool).splitlines()
        match = _LAMPS.fullmatch(lines[-1].strip()) if lines else None
        if match is None:
            raise _unknown(tool, lines[-1] if lines else "")
        return int("".join(match.groups()), 2)

    def _run(self, tool: str, *arguments: str, timeout_s: float = TOOL_S) -> str:
        command = [tool, "-S", str(self.slot), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
        except FileNotFoundError:
            raise CardError(
                tool, None, "a program on PATH", "install AWS's FPGA management tools: source sdk_setup.sh of aws-fpga"
            ) from None
        except PermissionError as error:
            raise CardError(tool, str(error), "a program that may be run", "run as root") from None
        except subprocess.TimeoutExpired:
            raise CardError(
                tool, f"{timeout_s:g} s", "an answer in time", "look at `dmesg`; stop and start the instance"
            ) from None
        if done.returncode == 0:
            return done.stdout
        text = f"{done.stdout}\n{done.stderr}".strip()
        match = _FAILED.search(text)
        code = int(match[1]) if match else None
        if code in ERRORS:
            name, remedy = ERRORS[code]
            raise CardError(tool, f"{name} ({code})", "ok (0)", remedy or _AGAIN)
        raise CardError(tool, text[-200:] or f"status {done.returncode}", "status 0", "run as root, on an instance with an FPGA")


def parse_image(tool: str, text: str, slot: int) -> ImageState:
    """What a tool printed of one slot. Raises CardError for any line that is not one of the two it prints, or another slot's."""
    image = device = None
    for line in (line.strip() for line in text.splitlines() if line.strip()):
        match = _IMAGE.fullmatch(line)
        if match and image is None:
            image = match
            continue
        match = _DEVICE.fullmatch(line)
        if match is None:
            raise _unknown(tool, line)
        device = device or match
    if image is None or device is None:
        raise _unknown(tool, text)
    code, error = int(image[4]), int(image[6])
    known = SlotState(code).name.lower().replace("_", "-") if code in set(SlotState) else None
    if known != image[3] or ERRORS.get(error, ("", ""))[0] != image[5] or {int(image[1]), int(device[1])} != {slot}:
        raise _unknown(tool, image[0])
    return ImageState(
        slot=slot,
        agfi=image[2] if image[2].startswith("agfi-") else None,
        state=SlotState(code),
        error=error,
        shell_version=int(image[7], 16),
        vendor=int(device[2], 16),
        device=int(device[3], 16),
        address=device[4],
    )


def _need_no_error(tool: str, found: ImageState) -> None:
    if found.error:
        name, remedy = ERRORS[found.error]
        raise CardError(tool, f"{found.name}, {name} ({found.error})", "ok (0)", remedy)


def _unknown(tool: str, line: str) -> CardError:
    return CardError(tool, line, "text as AWS's tools print it", "install the SDK that fits the shell; this text is not known")
