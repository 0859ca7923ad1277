"""One chain, link by link, in real processes: the venue's errors, the alarm, the latch, a restart, a person, and its record.

An exchange in this process; a daemon, `sentinel alarms run` and `sentinel audit follow` in their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ControlError
from sentinel.host.alarm_heartbeat import HeartbeatWatch
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import Arm, Positions
from sentinel.host.status import read_status
from sentinel.ops.alarms.rules import DEFAULT_RULES
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.api_error import ApiError
from sentinel.units import NS_PER_S
from sentinel.wire import IntentFlag, TradingState
from tests.e2e.kill_rig import KEYS, MAIN, SPEED, SYMBOLS, DaemonChild, Machine, machine, until
from tests.e2e.lockstep_rig import run
from tests.host.control.persons import write_roles
from tests.ops.alarms.receiver import Receiver, receiver

RULE = "order_errors"
NUMBER = next(rule.number for rule in DEFAULT_RULES if rule.id == RULE)
#: Refused orders in a minute that the rule takes for a rate.
REFUSALS = 3
#: Of virtual time: ten minutes on the wall clock.
MINUTES = 100.0


def _market() -> MarketModel:
    """Two coins, pumped and dumped in turn, so far apart that each stands out however late a daemon comes to it."""
    coins = [replace(coin, trades_per_s=2.0) for coin in COINS if coin.instrument.symbol in SYMBOLS]
    events = [
        Episode(SYMBOLS[k % 2], 60.0 + 150.0 * k, direction=1 if k % 4 < 2 else -1, decay_s=40.0)
        for k in range(round(60 * MINUTES / 150) - 1)
    ]
    return MarketModel(5, coins, MINUTES, events, start_ns=time.time_ns() // 1_000_000 * 1_000_000)


class Refusing:
    """Makes the exchange refuse every other order while ``on``: never enough in a row for the engine's own control."""

    def __init__(self, m: Machine) -> None:
        self.on = True
        self.refused: list[tuple[int, str]] = []
        self._place = m.exchange.place
        self._asked = 0
        m.exchange.place = self._answer  # type: ignore[method-assign]

    def _answer(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        self._asked += 1
        if self.on and self._asked % 2:
            self.refused.append((time.monotonic_ns(), params["newClientOrderId"]))
            raise ApiError(400, -2010, "Account has insufficient balance for requested action.")
        return self._place(account, params)

    @property
    def rate_ns(self) -> int:
        """When so many had been refused within a minute of the engine's time, CLOCK_MONOTONIC."""
        times = [t for t, _ in self.refused]
        return next(
            last for first, last in zip(times, times[REFUSALS - 1 :], strict=False) if last - first < 60 / SPEED * NS_PER_S
        )


class Chain:
    """The machine with alarms, a trail and a role file."""

    def __init__(self, m: Machine, alerts: Receiver, action: str) -> None:
        self.m, self.alerts = m, alerts
        write_roles(m.directory, {"carol": os.geteuid()})
        rules = "".join(f"[alarms.rules.{rule}]\nenabled = false\n" for rule in ("cpu_steal", "disk_free", "feed_age", "latency"))
        text = m.path.read_text(encoding="utf-8")
        text += f'[access]\nroles = "{m.directory / "roles.toml"}"\n[alarms]\nrequired = true\nclear_after_s = 0\n'
        # The test's own exchange shares a processor with all of them.
        text += f'silence_ms = 60000\nwebhook_url = "{alerts.url}"\n{rules}[alarms.rules.{RULE}]\naction = "{action}"\n'
        m.path.write_text(text, encoding="utf-8")

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        return await self.m.start(*command)

    def become(self, name: str) -> None:
        """From now on this user is that person; carol is a trader, alice has the role risk."""
        write_roles(self.m.directory, {name: os.geteuid()})

    async def state(self) -> str:
        try:
            return str((await asyncio.to_thread(ask, self.m.store, Positions()))["trading_state"])
        except ControlError:
            return "none"

    async def until_state(self, wanted: str) -> None:
        deadline = time.monotonic() + 120.0
        while await self.state() != wanted:
            assert time.monotonic() < deadline, f"{await self.state()} and not {wanted}, {self.told()}"
            await asyncio.sleep(0.05)

    def told(self) -> list[tuple[str, str]]:
        return [(row["id"], row["change"]) for row in map(json.loads, (one.body for one in self.alerts.posted))]

    async def until_told(self, *alert: str) -> int:
        """When it came, CLOCK_MONOTONIC."""
        await until(lambda: alert in self.told(), f"the alert {alert}", 120.0)
        return self.alerts.posted[self.told().index((alert[0], alert[1]))].monotonic_ns

    async def watched(self) -> None:
        """The alarm process has read the status of this start of the daemon."""
        await until(lambda: read_status(self.m.store) is not None, "a status")
        status = read_status(self.m.store)
        assert status is not None
        watch = HeartbeatWatch(self.m.store, 60_000, status.epoch)
        await until(watch.beating, "the alarm process", 120.0)

    async def arm(self) -> dict[str, Any]:
        nonce = (await asyncio.to_thread(ask, self.m.store, Arm()))["nonce"]
        return await asyncio.to_thread(ask, self.m.store, Arm(nonce))

    async def entered(self) -> None:
        """Orders leave, and fill: there are some more of ours than now."""
        before = len(self.m.orders("STL-"))
        await until(lambda: len(self.m.orders("STL-")) > before + 2, "orders of ours", 120.0)

    async def restart(self, daemon: DaemonChild) -> DaemonChild:
        daemon.send_signal(signal.SIGKILL)
        await until(lambda: not daemon.lives, "the daemon's end")
        return await self.m.start_daemon()

    async def says(self, *command: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *MAIN,
            *command,
            "--json",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **KEYS},
        )
        out, said = await asyncio.wait_for(process.communicate(), 240.0)
        assert process.returncode == 0, said[-2000:]
        return dict(json.loads(out.splitlines()[-1]))


ACTIONS = [
    pytest.param("reduce_only", "REDUCE_ONLY", id="reduce_only"),
    pytest.param("kill", "HALTED", id="kill", marks=pytest.mark.full),
]


@pytest.mark.control("E1")
@pytest.mark.parametrize(("action", "latched"), ACTIONS)
def test_errors_of_the_venue_lead_to_an_alert_a_latch_that_outlasts_a_restart_and_a_person_who_ends_it(
    tmp_path: Path, action: str, latched: str
) -> None:
    async def scenario(alerts: Receiver) -> dict[str, Any]:
        async with machine(tmp_path, _market(), enabled=False) as m:
            chain = Chain(m, alerts, action)
            follower = await chain.start("audit", "follow")
            alarms = await chain.start("alarms", "run")
            daemon = await m.start_daemon()
            await chain.until_state("ACTIVE")
            await chain.watched()
            await chain.entered()

            refusing = Refusing(m)
            came_ns = await chain.until_told(RULE, "fired")
            refusing.on = False
            sys.stdout.write(f"alert {(came_ns - refusing.rate_ns) / NS_PER_S:.3f} s after the refusal that made it a rate\n")
            await chain.until_state(latched)

            daemon = await chain.restart(daemon)
            await chain.until_state(latched)
            # An alarm that stands would ask again.
            await chain.until_told(RULE, "cleared")
            with pytest.raises(ControlError, match="role"):
                await chain.arm()
            assert await chain.state() == latched
            chain.become("alice")
            assert (await chain.arm())["trading_state"] == "ACTIVE"
            await chain.entered()
            assert await chain.state() == "ACTIVE"

            await daemon.end()
            for process in (alarms, follower):
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 60.0) == 0
            await chain.until_told("alarm_process", "stopped")
            trail = str(m.config.audit_directory)
            shown, verified, refused = await asyncio.gather(
                chain.says("audit", "show", trail, "--last", "100000"),
                chain.says("audit", "verify", trail),
                chain.says("trace", refusing.refused[0][1], "--config", str(m.path)),
            )
            rows = shown["records"]
            first = next(row["record"]["order"] for row in rows[_by_person(rows) :] if _enters(row))
            entered = await chain.says("trace", first, "--config", str(m.path))
            return {"rows": rows, "verified": verified, "refused": refused, "entered": entered, "told": chain.told()}

    with receiver() as alerts:
        os.environ["SENTINEL_WEBHOOK_SECRET"] = "of this test"
        try:
            found = run(scenario(alerts))
        finally:
            del os.environ["SENTINEL_WEBHOOK_SECRET"]
    assert found["verified"]["whole"]
    _links(found["rows"], action)
    events = [one["event"] for one in found["refused"]["events"]]
    assert "REJECTED" in events
    assert {"INTENT", "ORDER_EVENT"} <= {row["kind"] for row in found["refused"]["audit"]}
    assert found["entered"]["intent"]["arm_epoch"] == found["rows"][_by_person(found["rows"])]["record"]["id"]
    assert found["entered"]["market_event"] is not None
    assert found["told"].index((RULE, "fired")) < found["told"].index((RULE, "cleared"))


def _by_person(rows: list[dict[str, Any]]) -> int:
    """Where in the trail the person's arming is."""
    wanted = {"command": "ARM", "actor": os.geteuid(), "value": int(TradingState.ACTIVE)}
    return next(i for i, row in enumerate(rows) if wanted.items() <= row["record"].items())


def _enters(row: dict[str, Any]) -> bool:
    record = row["record"]
    return record.get("kind") == "PLACE" and not record["flags"] & IntentFlag.REDUCE_ONLY


def _links(rows: list[dict[str, Any]], action: str) -> None:
    """Each link of the chain is in the trail, in its order, and no entry left while it was latched."""

    def where(what: str, since: int, **wanted: Any) -> int:
        found = (
            i for i in range(since, len(rows)) if all(rows[i]["record"].get(name) == value for name, value in wanted.items())
        )
        at = next(found, -1)
        assert at >= 0, f"{what} is not in the trail behind record {since}"
        return at

    refused = where("a refusal by the venue", 0, kind="ORDER_EVENT", event="REJECTED")
    asked = where("the alarm process's request", refused, kind="ACCESS", request="ALARM", result="GRANTED", person="carol")
    alarm = where("the alarm", asked, kind="CONTROL", command="ALARM", id=NUMBER)
    if action == "kill":
        latch = where("the kill", alarm, kind="SIGNAL", code="KILLED", control="ALARM")
    else:
        latch = where("the latch", alarm, kind="SIGNAL", code="ARMED_STATE", value="REDUCE_ONLY")
    start = where("the restart", latch, kind="CONTROL", command="EPOCH")
    denied = where("the refused arming", start, kind="ACCESS", request="ARM", result="DENIED", person="carol")
    granted = where("the person's arming", denied, kind="ACCESS", request="ARM", result="GRANTED", person="alice")
    armed = where("the arming", granted, kind="CONTROL", command="ARM", actor=os.geteuid(), value=int(TradingState.ACTIVE))
    active = where("trading again", armed, kind="SIGNAL", code="ARMED_STATE", value="ACTIVE")
    assert [row for row in rows[latch:active] if _enters(row)] == []
    assert any(_enters(row) for row in rows[active:])
    # It is the latch that kept them back: there was something to enter.
    assert any(row["record"].get("code") == "ANOMALY" for row in rows[latch:active])
