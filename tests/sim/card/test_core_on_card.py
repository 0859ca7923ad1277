"""The driver and the decider on the emitted core itself: what it decides, what it refuses, and how it arms and trips."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.limits import TICKS_PER_S, CardLimits
from sentinel.host.cards.model_words import model_load
from sentinel.host.cards.registers import BeatFault, Ocl, Sda, Status, TripCause
from sentinel.model.artifact import ModelArtifact, load_model
from sentinel.model.rule import Comparison, Condition, RuleTable, rule_table
from sentinel.sim.card.simulated import SimulatedCard
from sentinel.units import E8
from sentinel.wire import CARD_BEAT, DECISION, BeatKind, Control, Side, Verdict

ARTIFACT = load_model()
WIDE = rule_table([[Condition(0, Comparison.GT, 0.0), Condition(20, Comparison.LE, 0.5, nan_result=True)]])
LIMITS = CardLimits(
    version=3, max_order_notional=25_000 * E8 * E8, max_gross_notional=100_000 * E8 * E8, max_daily_loss=5_000 * E8
)
PRICE, QTY, SYMBOL = 2 * E8, 10 * E8, 7


def _vectors(count: int, seed: int = 3) -> NDArray[np.float32]:
    """Vectors on, beside and far from the model's thresholds, with NaN, -0, infinities and denormals among them."""
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(count, 26)) * 10.0 ** rng.integers(-4, 3, (count, 26))).astype(np.float32)
    special = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-40, -1e-40], np.float32)
    chosen = rng.random((count, 26)) < 0.15
    vectors[chosen] = rng.choice(special, int(chosen.sum()))
    return vectors


def _started(card: SimulatedCard) -> CardDriver:
    driver = CardDriver(card)
    driver.identify()
    driver.start()
    return driver


@pytest.mark.parametrize(("rules", "on_rule"), [(ARTIFACT.rules, False), (ARTIFACT.rules, True), (WIDE, False)])
def test_core_decides_bit_for_bit_as_the_cpu(card: SimulatedCard, rules: RuleTable, on_rule: bool) -> None:
    driver = _started(card)
    load = driver.load_model(ARTIFACT, rules, on_rule)
    assert load.beats == (2 if rules is WIDE else 1)
    vectors = _vectors(2_000)
    cpu = CpuDecider(ARTIFACT, rules, on_rule)
    decider = driver.decider(ARTIFACT)
    assert (decider.score(pack_beats(vectors)) == cpu.score(vectors)).all()
    assert decider.report()["cycles_max"] <= 48
    assert driver.counters()["faults_skip"] == 0


def test_answers_survive_pauses_on_every_channel(card: SimulatedCard) -> None:
    driver = _started(card)
    driver.load_model(ARTIFACT, ARTIFACT.rules)
    card.set_pauses(100, 180, 120, seed=4)
    vectors = _vectors(500)
    expected = CpuDecider(ARTIFACT, ARTIFACT.rules, False).score(vectors)
    assert (driver.decider(ARTIFACT).score(pack_beats(vectors)) == expected).all()
    assert driver.counters()["pcim_stalls"] > 0


def test_one_at_a_time_through_the_engines_interface(card: SimulatedCard) -> None:
    driver = _started(card)
    driver.load_model(ARTIFACT, ARTIFACT.rules)
    decider = driver.decider(ARTIFACT)
    vectors = _vectors(200)
    beats = pack_beats(vectors, symbol=1023)
    expected = CpuDecider(ARTIFACT, ARTIFACT.rules, False).score(vectors)
    expected["symbol"] = 1023
    call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int64)(decider.address)
    decision = np.zeros(1, DECISION)
    for i in range(len(beats)):
        assert call(decider.context, beats[i].ctypes.data, decision.ctypes.data, 0) == 0
        assert decision[0] == expected[i]


def test_second_model_replaces_the_first_while_decisions_go_on(card: SimulatedCard) -> None:
    driver = _started(card)
    driver.load_model(ARTIFACT, ARTIFACT.rules)
    fewer = _with_trees(ARTIFACT, 5)
    driver.load_model(fewer, WIDE)
    vectors = _vectors(300)
    assert (driver.decider(fewer).score(pack_beats(vectors)) == CpuDecider(fewer, WIDE, False).score(vectors)).all()
    with pytest.raises(CardError, match="load it first"):
        driver.decider(ARTIFACT)


def _with_trees(artifact: ModelArtifact, trees: int) -> ModelArtifact:
    heap = artifact.heap
    parts = {name: getattr(heap, name)[:trees] for name in ("keys", "features", "default_left", "leaves", "tree_output")}
    return replace(artifact, heap=replace(heap, **parts), crc=0x0BADCAFE)


@pytest.mark.parametrize(
    ("spoil", "bit"),
    [
        (lambda load: (load, load.crc ^ 1), "ERROR_CRC"),
        (lambda load: (replace(load, abi=2), None), "ERROR_ABI"),
        (lambda load: (replace(load, trees=129), None), "ERROR_TREES"),
        (lambda load: (replace(load, trees=0), None), "ERROR_TREES"),
        (lambda load: (replace(load, classes=5), None), "ERROR_CLASSES"),
        (lambda load: (replace(load, words=load.words[:-1]), None), "ERROR_COUNT"),
        (lambda load: (replace(load, words=np.append(load.words, np.uint32(0))), None), "ERROR_COUNT"),
    ],
)
def test_damaged_model_is_refused_and_the_old_one_stays(
    card: SimulatedCard, spoil: Callable[[object], tuple[object, int | None]], bit: str
) -> None:
    driver = _started(card)
    small = _with_trees(ARTIFACT, 4)
    driver.load_model(small, ARTIFACT.rules)
    load, crc = spoil(model_load(_with_trees(ARTIFACT, 6), ARTIFACT.rules, False))
    with pytest.raises(CardError) as caught:
        driver.write_model(load, crc)  # type: ignore[arg-type]
    assert caught.value.field == "MODEL_STATUS"
    assert bit in str(caught.value.value)
    vectors = _vectors(50)
    expected = CpuDecider(small, ARTIFACT.rules, False).score(vectors)
    assert (driver.decider(small).score(pack_beats(vectors)) == expected).all()


def test_card_without_a_model_answers_no_vector(card: SimulatedCard) -> None:
    driver = _started(card)
    with pytest.raises(CardError):
        driver.decider(ARTIFACT)
    driver.loaded = model_load(ARTIFACT, ARTIFACT.rules, False)
    decider = driver.decider(ARTIFACT)
    with pytest.raises(CardError, match="card decisions = 0"):
        decider.score(pack_beats(_vectors(1)))
    assert decider.report()["contradictions"] == 0  # score stops at the first, the engine's own call counts it


def test_ring_that_is_not_set_is_no_answer_and_no_hang(card: SimulatedCard) -> None:
    driver = CardDriver(card)
    driver.gate.heartbeat()
    driver.link.poll(8)
    assert driver.link.counters()["records"] == 0
    assert card.counters()["stray_writes"] == 0
    assert driver.read(Ocl.PCIM_WRITES) == 0


def _armed(card: SimulatedCard) -> tuple[CardDriver, int]:
    driver = _started(card)
    driver.set_limits(LIMITS)
    driver.set_symbol(SYMBOL, max_order_qty=1_000 * E8, max_position_qty=5_000 * E8)
    card.wait_ticks(LIMITS.watchdog_min + 100)
    _feed(driver)
    assert driver.service_watchdog() is not None
    return driver, driver.arm()


def _feed(driver: CardDriver) -> None:
    driver.gate.heartbeat()
    driver.gate.equity(100_000 * E8, 100_000 * E8)
    driver.gate.reference(SYMBOL, PRICE - 1, PRICE + 1)
    driver.link.poll(4)


def _verdict(driver: CardDriver) -> NDArray[np.void]:
    driver.link.poll(4)
    permits = driver.permits()
    assert len(permits) == 1
    return permits[0]


def test_order_is_permitted_once_armed_and_refused_after_a_kill(card: SimulatedCard) -> None:
    driver, epoch = _armed(card)
    driver.gate.order(SYMBOL, Side.BUY, PRICE, QTY, 11, epoch, LIMITS.version)
    permit = _verdict(driver)
    assert (permit["verdict"], permit["client_key"], permit["arm_epoch"]) == (Verdict.PERMIT, 11, epoch)
    driver.kill()
    driver.gate.order(SYMBOL, Side.BUY, PRICE, QTY + 1, 12, epoch, LIMITS.version)
    permit = _verdict(driver)
    assert (permit["verdict"], permit["control"]) == (Verdict.REJECT, Control.KILLED)
    assert driver.read(Ocl.ARM_EPOCH) == epoch + 1
    assert TripCause.SOFTWARE_OCL in driver.causes()


def test_management_window_trips_and_the_operators_switch_too(card: SimulatedCard) -> None:
    driver, _ = _armed(card)
    driver.kill_by_management()
    assert Status.TRIPPED in driver.status()
    assert card.sda_read(Sda.TRIP_CAUSES) & TripCause.SOFTWARE_SDA
    _feed(driver)
    driver.arm()
    card.set_vdip(1)
    card.step(8)
    assert TripCause.VDIP in driver.causes()
    with pytest.raises(CardError, match="VDIP"):
        driver.arm()


@pytest.mark.parametrize(
    ("missing", "cause"),
    [("limits", TripCause.LIMIT_FAULT), ("heartbeat", TripCause.HEARTBEAT), ("equity", TripCause.STALE_EQUITY)],
)
def test_arming_is_refused_while_a_cause_stands(card: SimulatedCard, missing: str, cause: TripCause) -> None:
    driver = _started(card)
    if missing != "limits":
        driver.set_limits(LIMITS)
    if missing != "heartbeat":
        driver.gate.heartbeat()
    if missing != "equity":
        driver.gate.equity(100_000 * E8, 100_000 * E8)
    driver.link.poll(4)
    with pytest.raises(CardError, match=cause.name or ""):
        driver.arm()
    assert Status.TRIPPED in driver.status()


def test_silence_of_the_host_trips(card: SimulatedCard) -> None:
    driver, _ = _armed(card)
    card.wait_ticks(LIMITS.heartbeat_max_age + 1)
    assert TripCause.HEARTBEAT in driver.causes()
    assert Status.TRIPPED in driver.status()


def test_watchdog_is_fed_by_its_challenges_and_trips_without(card: SimulatedCard) -> None:
    driver, _ = _armed(card)
    step = TICKS_PER_S // 50
    answered = 0
    for _ in range(4 * 50):
        card.wait_ticks(step)
        _feed(driver)
        answered += driver.service_watchdog() is not None
    assert Status.ARMED in driver.status()
    assert answered >= 3
    for _ in range(2 * 50):
        card.wait_ticks(step)
        _feed(driver)
    assert TripCause.WATCHDOG in driver.causes()


def test_second_answer_to_a_challenge_trips(card: SimulatedCard) -> None:
    driver, _ = _armed(card)
    answer = None
    for _ in range(100):
        card.wait_ticks(TICKS_PER_S // 50)
        _feed(driver)
        answer = driver.service_watchdog()
        if answer is not None:
            break
    assert answer is not None
    card.ocl_write(Ocl.WATCHDOG_ANSWER, answer)
    assert TripCause.WATCHDOG in driver.causes()


def _wrong_beat(**fields: int) -> Callable[[CardDriver, SimulatedCard], None]:
    def send(driver: CardDriver, card: SimulatedCard) -> None:
        beat = np.zeros(1, CARD_BEAT)
        beat["kind"] = BeatKind.HEARTBEAT
        beat["seq"] = driver.link.state["next_seq"]
        beat["check"] = ~beat["seq"]
        for name, value in fields.items():
            beat[name] = value
            if name == "seq":
                beat["check"] = ~beat["seq"]
        card.pcis_write64(0, beat.tobytes())
        card.step(64)

    return send


@pytest.mark.parametrize(
    ("send", "fault"),
    [
        (_wrong_beat(check=12345), BeatFault.TORN),
        (_wrong_beat(seq=0), BeatFault.REPLAY),
        (_wrong_beat(seq=1000), BeatFault.SKIP),
        (_wrong_beat(kind=77), BeatFault.KIND),
        (_wrong_beat(kind=BeatKind.ORDER, symbol=1024), BeatFault.SYMBOL),
        (_wrong_beat(part=1), BeatFault.PART),
        (_wrong_beat(kind=BeatKind.ORDER_EVENT, symbol=SYMBOL), BeatFault.FIELDS),
    ],
)
def test_bad_beat_is_a_sticky_fault_that_trips_and_permits_nothing(
    card: SimulatedCard, send: Callable[[CardDriver, SimulatedCard], None], fault: BeatFault
) -> None:
    driver, _ = _armed(card)
    send(driver, card)
    assert BeatFault(driver.read(Ocl.BEAT_FAULTS)) & fault
    assert TripCause.BEAT_FAULT in driver.causes()
    assert not (driver.permits()["verdict"] == Verdict.PERMIT).any()
    assert driver.read(Ocl.PERMITS) == 0


def test_limits_that_are_committed_under_a_wrong_crc_are_not_in_force(card: SimulatedCard) -> None:
    driver = _started(card)
    for register, word in LIMITS.writes():
        card.ocl_write(register, word)
    card.ocl_write(Ocl.LIMITS_COMMIT, 1)
    card.step(200)
    assert driver.read(Ocl.LIMITS_STATUS) & 0x100
    assert TripCause.LIMIT_FAULT in driver.standing()


def test_armed_card_refuses_changes_on_the_bus_itself(card: SimulatedCard) -> None:
    _armed(card)
    card.ocl_write(Ocl.LIMIT_COLLAR_BPS, 10_000)
    assert card.response == 2
    assert card.ocl_read(Ocl.LIMIT_COLLAR_BPS) == LIMITS.collar_bps
