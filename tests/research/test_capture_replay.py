from pathlib import Path

import pytest
import zstandard

from sentinel.errors import CaptureError
from sentinel.research.capture_replay import CaptureReplay


@pytest.mark.parametrize(("symbol", "depth_events"), [("btcusdt", 3449), ("ethusdt", 3432)])
def test_a_real_capture_matches_its_book_ticker_at_every_depth_event_and_hashes_alike_twice(
    shared_data: Path, symbol: str, depth_events: int
) -> None:
    capture = shared_data / "captures" / f"binance_spot_{symbol}_20240808.ndjsonl.zst"
    first, second = (CaptureReplay(capture).run() for _ in range(2))
    assert first == second
    assert first["bbo_checked"] == depth_events
    assert first["bbo_mismatches"] == first["gaps"] == first["drops"] == 0
    assert first["decisions"] > 1000


def _capture(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
    return path


def _trade(t_ns: int, trade_id: int, symbol: str = "AUSDT") -> bytes:
    ms = t_ns // 1_000_000
    data = f'{{"e":"trade","E":{ms},"s":"{symbol}","t":{trade_id},"p":"1.00000000","q":"1.00000000","T":{ms},"m":true,"M":true}}'
    return f'{t_ns} {{"stream":"{symbol.lower()}@trade","data":{data}}}'.encode()


def test_ticks_come_every_tenth_of_a_second_of_the_captures_own_time(tmp_path: Path) -> None:
    start = 1_700_000_000_000_000_000
    lines = [_trade(start + k * 30_000_000, k + 1) for k in range(100)]
    replay = CaptureReplay(_capture(tmp_path / "c.zst", lines))
    result = replay.run()
    assert result["decisions"] == 100
    assert int(replay.state.counters["ticks"][0]) == 29  # 2.97 s, the first tick 0.1 s in


def test_a_capture_without_market_messages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="Binance spot capture"):
        CaptureReplay(_capture(tmp_path / "c.zst", [b"1 {}"]))


def test_symbols_of_several_quote_assets_need_a_config(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="quote asset"):
        CaptureReplay(_capture(tmp_path / "c.zst", [_trade(10**18, 1), _trade(10**18, 2, "XRPBTC")]))
