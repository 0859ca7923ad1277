"""The driver of an AWS card, unchanged, on a machine in user space: its mappings, accesses and ring end at the emitted core."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.host.cards.machine.user_card import UserCard

PRELUDE = """
import json, time
import numpy as np
from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.huge_ring import HugeRing
from sentinel.host.cards.limits import TICKS_PER_S, CardLimits
from sentinel.host.cards.opened import OpenedCard
from sentinel.host.cards.registers import Ocl, Sda, Status, TripCause
from sentinel.host.cards.slots import Tree, find_slot
from sentinel.host.cards.sysfs import SysfsBus
from sentinel.model.artifact import load_model
from sentinel.units import E8
from sentinel.wire import DECISION, Side, Verdict

tree = Tree.from_environment()
slot = find_slot(tree, 0)
artifact = load_model()
vectors = np.random.default_rng(5).normal(size=(400, 26)).astype(np.float32)
expected = CpuDecider(artifact, artifact.rules, False).score(vectors)
"""

LOADED = """
card = OpenedCard(slot, tree, None, timeout_us=20_000)
driver = CardDriver(card.bus)
driver.identify()
driver.start()
driver.load_model(artifact, artifact.rules)
decider = driver.decider(artifact, fail_after=FAIL_AFTER)
"""

#: One by one through the C function the engine calls; what was not decided by the card is None.
ASK = """
import ctypes
call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int64)(decider.address)
beats, decision, codes, wrong = pack_beats(vectors), np.zeros(1, DECISION), [], 0
for i in range(len(beats)):
    codes.append(call(decider.context, beats[i].ctypes.data, decision.ctypes.data, 0))
    wrong += codes[-1] == 0 and bool(decision[0] != expected[i])
print(json.dumps({"codes": codes, "wrong": wrong, **decider.report()}))
"""


def _run(card: UserCard, text: str, fail_after: int = 8, **options: Any) -> Any:
    return card.python(PRELUDE + f"FAIL_AFTER = {fail_after}\n" + text, **options)


def test_card_decides_bit_for_bit_as_the_cpu(user_card: UserCard) -> None:
    found = _run(
        user_card,
        LOADED
        + """
got = decider.score(pack_beats(vectors))
faults = {name: count for name, count in driver.counters().items() if count and name.startswith("faults")}
word = int(driver.bus.ring[0, 14])
card.close()
print(json.dumps({"same": bool((got == expected).all()), "faults": faults, "slot": word, "report": decider.report()}))
""",
    )
    assert found["same"]
    assert found["faults"] == {}
    assert found["slot"] == 1  # the first record lies where the card was told the ring begins
    assert found["report"]["decisions"] == 400
    assert found["report"]["cycles_max"] <= 48


def test_gate_arms_permits_and_trips_over_both_windows(user_card: UserCard) -> None:
    found = _run(
        user_card,
        LOADED
        + """
limits = CardLimits(version=3, max_order_notional=25_000 * E8 * E8, max_gross_notional=100_000 * E8 * E8,
    max_daily_loss=5_000 * E8, watchdog_min=TICKS_PER_S // 1000, heartbeat_max_age=60 * TICKS_PER_S,
    equity_max_age=60 * TICKS_PER_S, reference_max_age=60 * TICKS_PER_S,
    watchdog_period=30 * TICKS_PER_S, watchdog_max=30 * TICKS_PER_S)
driver.set_limits(limits)
driver.set_symbol(7, max_order_qty=1_000 * E8, max_position_qty=5_000 * E8)
driver.gate.heartbeat()
driver.gate.equity(100_000 * E8, 100_000 * E8)
driver.gate.reference(7, 2 * E8 - 1, 2 * E8 + 1)
until = time.monotonic() + 60.0
while driver.service_watchdog() is None and time.monotonic() < until:
    time.sleep(0.001)
epoch = driver.arm()
armed = Status.ARMED in driver.status()
driver.gate.order(7, Side.BUY, 2 * E8, 10 * E8, 11, epoch, limits.version)
permit = driver.permits()[0]
driver.kill()
causes = [TripCause.SOFTWARE_OCL in driver.causes()]
driver.gate.order(7, Side.BUY, 2 * E8, 10 * E8 + 1, 12, epoch, limits.version)
refused = driver.permits()[0]
driver.kill_by_management()
causes.append(bool(card.bus.sda_read(Sda.TRIP_CAUSES) & TripCause.SOFTWARE_SDA))
print(json.dumps({"armed": armed, "permit": [int(permit["verdict"]), int(permit["client_key"])],
    "refused": int(refused["verdict"]), "causes": causes}))
""",
    )
    assert found == {"armed": True, "permit": [1, 11], "refused": 2, "causes": [True, True]}


@pytest.mark.parametrize(
    "fault", ["lose", pytest.param("flip", marks=pytest.mark.full), pytest.param("reorder", marks=pytest.mark.full)]
)
def test_record_that_goes_astray_is_never_a_wrong_answer_and_the_card_goes_on(user_card: UserCard, fault: str) -> None:
    found = _run(user_card, LOADED + ASK, fault=fault, after=100)
    assert found["wrong"] == 0
    assert not found["failed"]
    assert 1 <= found["timeouts"] <= 2
    assert found["codes"].count(0) == 400 - found["timeouts"]
    assert found["codes"][-1] == 0


@pytest.mark.parametrize("fault", ["all-ones", pytest.param("silent", marks=pytest.mark.full)])
def test_card_that_falls_away_is_asked_no_more_after_eight_doubts(user_card: UserCard, fault: str) -> None:
    found = _run(user_card, LOADED + ASK, fault=fault, after=50)
    assert found["wrong"] == 0
    assert found["codes"][:49] == [0] * 49
    assert 0 not in found["codes"][49:]
    assert found["failed"]
    assert (found["timeouts"], found["bypassed"]) == (8, 400 - 49 - 8)


def test_card_that_reads_all_ones_is_lost_to_every_request(user_card: UserCard) -> None:
    found = _run(
        user_card,
        LOADED
        + ASK
        + """
errors = []
for act in (driver.status, driver.kill, driver.causes, driver.identify, lambda: driver.load_model(artifact, artifact.rules)):
    try:
        act()
    except CardError as error:
        errors.append(str(error.value))
print(json.dumps({"errors": errors, "sda": card.bus.sda_read(Sda.STATUS)}))
""",
        fault="all-ones",
        after=50,
    )
    assert found == {"errors": ["0xffffffff"] * 5, "sda": 0xFFFFFFFF}


def test_without_bus_mastering_no_record_comes(user_card: UserCard) -> None:
    found = _run(
        user_card,
        """
bus = SysfsBus(slot, HugeRing(tree, 0), timeout_us=1000)
driver = CardDriver(bus)
driver.start()
driver.load_model(artifact, artifact.rules)
decider = driver.decider(artifact)
"""
        + ASK,
    )
    assert found["decisions"] == 0
    assert found["failed"]


def test_opening_turns_bus_mastering_on_and_closing_the_ring_off(user_card: UserCard) -> None:
    found = _run(
        user_card,
        LOADED
        + """
on = Status.PCIM_ENABLED in driver.status()
card.close()
card = OpenedCard(slot, tree, None)
print(json.dumps({"on": on, "master": slot.bus_mastering, "off": Status.PCIM_ENABLED in CardDriver(card.bus).status()}))
""",
    )
    assert found == {"on": True, "master": True, "off": False}


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("hidden-frames", "CAP_SYS_ADMIN"), ("scattered-frames", "huge pages of 2 MiB"), ("absent-frames", "not locked")],
)
def test_ring_whose_physical_address_is_unknown_is_refused(user_card: UserCard, fault: str, remedy: str) -> None:
    found = _run(
        user_card,
        """
try:
    HugeRing(tree, 0)
except CardError as error:
    print(json.dumps({"field": error.field, "remedy": str(error)}))
""",
        fault=fault,
    )
    assert found["field"] == "pagemap"
    assert remedy in found["remedy"]


def test_image_loaded_anew_is_a_card_fresh_from_power_on(user_card: UserCard) -> None:
    found = _run(
        user_card,
        LOADED
        + """
from sentinel.host.cards.aws_tools import AwsTools
before = driver.counters()["pcim_writes"], driver.read(Ocl.MODEL_ACTIVE_ID)
decider.score(pack_beats(vectors[:10]))
card.close()
AwsTools(0).load("agfi-0123456789abcdef0")
master = slot.bus_mastering
card = OpenedCard(slot, tree, None)
driver = CardDriver(card.bus)
print(json.dumps({"master": master, "again": slot.bus_mastering, "model": driver.read(Ocl.MODEL_ACTIVE_ID),
    "causes": TripCause.POWER_ON in driver.causes()}))
""",
    )
    assert found == {"master": False, "again": True, "model": 0, "causes": True}


def test_access_that_the_driver_does_not_make_ends_the_program(user_card: UserCard) -> None:
    done = user_card.run(sys.executable, "-c", PRELUDE + "print(SysfsBus(slot)._ocl._memory[0:8])")
    assert done.returncode != 0
    assert "unknown access" in done.stderr


@pytest.mark.parametrize(
    ("processor", "features"), [("haswell", "+avx,+avx2"), ("x86-64", "+sse2")], ids=["two stores", "four stores"]
)
def test_beat_that_comes_in_parts_is_put_together_by_the_core(
    user_card: UserCard, monkeypatch: pytest.MonkeyPatch, processor: str, features: str
) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", processor)
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    found = user_card.python(
        """
import json
import numpy as np
from sentinel.host.cards.registers import BeatFault, Ocl
from sentinel.host.cards.slots import Tree, find_slot
from sentinel.host.cards.sysfs import SysfsBus
from sentinel.wire import CARD_BEAT, BeatKind
bus = SysfsBus(find_slot(Tree.from_environment(), 0))
beats = np.zeros(40, CARD_BEAT)
beats["kind"], beats["seq"] = BeatKind.HEARTBEAT, np.arange(40)
beats["check"] = ~beats["seq"]
taken = [bus.pcis_write64(i % 32 * 64, beats[i].tobytes()) for i in range(40)]
print(json.dumps({"taken": all(taken), "beats": bus.ocl_read(Ocl.BEATS), "faults": bus.ocl_read(Ocl.BEAT_FAULTS)}))
"""
    )
    assert found == {"taken": True, "beats": 40, "faults": 0}
