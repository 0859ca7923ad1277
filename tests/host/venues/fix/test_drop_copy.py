"""The drop copy keeps its own record of fills and says where another one differs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sentinel.host.venues.contract import VenueTrade
from sentinel.host.venues.fix import BINANCE, DropCopy, FixAddress, drop_copy
from sentinel.host.venues.fix.codec import Field
from sentinel.host.venues.fix.timestamps import parse_utc
from sentinel.units import E8
from sentinel.wire import FeeAsset, Side
from tests.host.venues.fix.fix_peer import FILL, INSTRUMENTS, Connection, Gateway, PlainLogon, report
from tests.host.venues.offline_session import ManualClock
from tests.host.waiting import until

T_NS = parse_utc("20240611-09:01:46.228950")
TRADE = VenueTrade(0, 9001, 76, Side.BUY, True, 2 * E8, E8, 2 * E8, E8 // 500, FeeAsset.QUOTE, T_NS)


def copied(*reports: list[Field]) -> DropCopy:
    """A drop copy that has heard these reports."""

    async def venue(connection: Connection) -> None:
        await connection.log_on()
        for fields in reports:
            connection.say("8", *fields)
        await connection.until_logout()

    async def run() -> DropCopy:
        async with Gateway(venue) as gateway:
            copy = DropCopy(FixAddress("127.0.0.1", gateway.port, None), BINANCE, [PlainLogon()], INSTRUMENTS, ManualClock())
            await copy.connect()
            assert copy.up
            await until(lambda: copy.counters["reports"] == len(reports))
            await copy.close()
            assert not copy.up
            return copy

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_fills_are_kept_once_whoever_ordered_them_and_other_reports_are_not() -> None:
    copy = copied(report(), report(*FILL), report(*FILL), report(*FILL, (55, "CCCUSDT")))
    assert copy.fills == {(0, 9001): TRADE}
    assert (copy.counters["fills"], copy.counters["duplicates"], copy.counters["unlisted"]) == (1, 1, 1)


def test_second_report_of_a_trade_with_other_figures_is_a_contradiction_and_changes_nothing() -> None:
    copy = copied(report(*FILL), report(*FILL, (31, "3")))
    assert copy.fills == {(0, 9001): TRADE}
    assert copy.counters["contradictions"] == 1


def test_report_that_cannot_be_used_is_counted_and_kept() -> None:
    copy = copied(report(*FILL, (31, "-2")))
    assert (copy.fills, copy.counters["malformed"]) == ({}, 1)
    assert b"31=-2" in copy.raw_log[0][2]


def test_comparison_names_what_either_record_lacks_and_what_differs() -> None:
    copy = copied(report(*FILL), report(*FILL, (1003, "9002")), report(*FILL, (1003, "9003"), (60, "20240611-09:01:50")))
    second, third = replace(TRADE, trade_id=9002), replace(TRADE, trade_id=9004)
    # The quote amount and the time are the interface's own.
    same = replace(TRADE, quote=TRADE.quote - 1, t_ns=T_NS - 950_000)
    found = copy.compare([same, replace(second, commission=1), third], T_NS - 1_000_000, T_NS + 1)
    assert (found.only_in_drop_copy, found.only_elsewhere, found.unequal) == ([], [third], [second])
    assert copy.compare([], T_NS, T_NS + 1).only_in_drop_copy == [TRADE, second]
    assert copy.compare([third], 0, T_NS) == drop_copy.FillDifference([], [], [])


def test_a_session_that_ended_is_counted_as_a_gap() -> None:
    assert copied(report()).counters["gaps"] == 1
