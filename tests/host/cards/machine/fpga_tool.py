"""AWS's FPGA tools for the machine in user space: each acts on the tree under SENTINEL_CARD_ROOT and prints as they print.

Started under the tools' own names. ``card/slots.json`` holds what the slots hold and what shall go wrong with them:
``refuse`` is an error code for the next load, ``busy`` how many looks the slot stays busy, ``wrong`` an AGFI that is
loaded in place of any other, ``text`` what is printed instead.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, NoReturn

ROOT = os.environ["SENTINEL_CARD_ROOT"]
STATES = {"loaded": 0, "cleared": 1, "busy": 2, "not-programmed": 3, "load-failed": 7}
NAMES = {0: "ok", 3: "busy", 5: "invalid-afi-id", 6: "afi-load-timeout", 16: "shell-version-not-supported", 25: "unresponsive"}


def path(*parts: str) -> str:
    return os.path.join(ROOT, *parts)


def read(*parts: str) -> str:
    with open(path(*parts)) as file:
        return file.read().strip()


def write(name: str, text: str) -> None:
    # In one piece, as a reader beside must see it.
    with open(name + ".new", "w") as file:
        file.write(text)
    os.rename(name + ".new", name)


def fail(code: int) -> NoReturn:
    print(f"Error: ({code}) {NAMES.get(code, 'internal-error')}")
    sys.exit(code)


def show(slot: int, held: dict[str, Any]) -> None:
    if held.get("text"):
        print(held["text"])
        return
    state = held["state"]
    if held.get("busy", 0) > 0:
        held["busy"] -= 1
        state = "busy"
    agfi = held["agfi"] or "none"
    error = held.get("error", 0)
    print(
        f"{'AFI':<10}  {slot:2d}       {agfi:<22}  {state:<8}         {STATES[state]:2d}        {NAMES[error]:<8}"
        f"        {error:2d}       {held['shell']}"
    )
    ids = [read("sys/bus/pci/devices", held["application"], name) for name in ("vendor", "device")]
    print(f"{'AFIDEVICE':<10}  {slot:2d}       {ids[0]}      {ids[1]}      {held['application']}")


def rescan(held: dict[str, Any], ids: Iterable[int]) -> None:
    """The shell shows other ids, and a load or clear leaves bus mastering off."""
    directory = path("sys/bus/pci/devices", held["application"])
    for name, number in zip(("vendor", "device", "subsystem_vendor", "subsystem_device"), ids, strict=True):
        write(os.path.join(directory, name), f"0x{number:04x}\n")
    with open(os.path.join(directory, "config"), "r+b") as file:
        file.seek(4)
        file.write(b"\x02\x00")


def main() -> None:
    tool = os.path.basename(sys.argv[0])
    options = dict(itertools.pairwise(sys.argv[1:]))
    slot = options["-S"]
    with open(path("card/slots.json")) as file:
        slots = json.load(file)
    if slot not in slots:
        fail(20)
    held = slots[slot]
    if tool == "fpga-load-local-image":
        if held.get("refuse"):
            fail(held.pop("refuse"))
        if held.get("hang"):
            time.sleep(held["hang"])
        held["agfi"], held["state"] = held.get("wrong") or options["-I"], "loaded"
        rescan(held, held["ids"])
        write(path("card/loads"), str(int(read("card/loads")) + 1))
        write(path("card/loaded"), "1")
        show(int(slot), held)
    elif tool == "fpga-clear-local-image":
        held["agfi"], held["state"] = None, "cleared"
        rescan(held, (0x1D0F, held["cleared"], 0x1D0F, 0x1D51))
        write(path("card/loaded"), "0")
        show(int(slot), held)
    elif tool == "fpga-describe-local-image":
        show(int(slot), held)
        if "-M" in sys.argv:
            print("virtual-jtag-slave-timeout=0\nocl-slave-timeout=0\npcim-range-error-addr=0x0\npcim-range-error-count=0")
            print("pcim-write-count=17\nDDR0\n   write-count=0\n   read-count=0")
            print("Power consumption (Vccint):\n   Last measured: 9 watts\n   Average: 9 watts\n   Max measured: 11 watts")
            print("Cached agfis:\n   agfi-0123456789abcdef0")
    elif tool == "fpga-set-virtual-dip-switch":
        write(path("card/switches"), str(int(options["-D"], 2)))
    elif tool == "fpga-get-virtual-led":
        bits = f"{int(read('card/lamps')):016b}"
        print(f"FPGA slot id {slot} have the following Virtual LED:")
        print("-".join(bits[i : i + 4] for i in range(0, 16, 4)))
    write(path("card/slots.json"), json.dumps(slots))


main()
