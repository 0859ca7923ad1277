"""The catalogue's groups A, state and authority, and B, the order itself."""

from __future__ import annotations

from sentinel.engine.risk.entry import ControlEntry, Parameter, Where, limits_of
from sentinel.wire import Control

_AUTHORITY = "engine/risk/authority.py"
_ORDER = "engine/risk/single_order.py"

ORDER_CONTROLS = (
    ControlEntry(
        "A1",
        "Kill state",
        "While the kill latch is closed nothing leaves but cancels.",
        Where.ENGINE,
        _AUTHORITY,
        "RTS 6 Art. 12",
        (Control.KILLED, Control.OPERATOR, Control.DISARMED),
    ),
    ControlEntry(
        "A2",
        "Trading state",
        "ACTIVE lets all pass, REDUCE_ONLY only what brings the position nearer to zero with the open orders of its side "
        "counted, HALTED and RECOVERING nothing; the start is never ACTIVE.",
        Where.ENGINE,
        _AUTHORITY,
        "15c3-5(c)(1); RTS 6 Art. 15(5)",
        (Control.NOT_ACTIVE, Control.POSITION_LIMIT),
    ),
    ControlEntry(
        "A3",
        "Authorised actor",
        "An arming is bound to the settings, model and account it was shown; the card's gate refuses another arm epoch or "
        "limits version.",
        Where.HOST,
        "host/control/live_terms.py",
        "15c3-5(c)(2)(iii); RTS 6 Art. 18",
        (Control.ARM_EPOCH, Control.LIMITS_VERSION),
    ),
    ControlEntry(
        "A4",
        "Restricted list",
        "Symbols of the list, or put on it while running, are watched and never traded. Where an age is asked of the signed "
        "list, an older one or none refuses every entry; exits pass.",
        Where.ENGINE,
        _AUTHORITY,
        "15c3-5(c)(2)(ii)",
        (Control.RESTRICTED,),
        limits_of(("restricted_symbols", "symbols"), ("max_restricted_age_s", "s")),
    ),
    ControlEntry(
        "A5",
        "Instrument status",
        "The venue says TRADING, no halt of ours is set; for an entry what it said is young enough.",
        Where.ENGINE,
        _AUTHORITY,
        "15c3-5(c)(2)(i)",
        (Control.SYMBOL_HALTED, Control.INSTRUMENT_AGE),
        limits_of(("max_instrument_age_s", "s")),
    ),
    ControlEntry(
        "A6",
        "Environment guard",
        "Paper settings never reach a real venue; live keys, stores and limits are named as such, and a live run trades only "
        "while a person's arming holds.",
        Where.HOST,
        "config.py, host/live.py",
        "RTS 6 Art. 7, 8",
        (Control.DISARMED,),
        (Parameter("live.arming_hours", "h"),),
    ),
    ControlEntry(
        "B1",
        "Maximum quantity",
        "Quantity of one order, of the account or tighter of the symbol; nonsense and what products cannot hold is refused too.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(c)",
        (Control.MAX_QTY, Control.BAD_INPUT),
        limits_of(("max_order_qty", "base")),
    ),
    ControlEntry(
        "B2",
        "Maximum notional",
        "Price times quantity of one order, rounded up; of the account, or tighter of the symbol.",
        Where.ENGINE,
        _ORDER,
        "RTS 6 Art. 15(1)(b)",
        (Control.MAX_NOTIONAL,),
        limits_of(("max_order_notional", "quote")),
    ),
    ControlEntry(
        "B3",
        "Static price collar",
        "Distance of the limit price from the side of the quote it would take, on either side; of the account, or tighter of the "
        "symbol. The limit told is the last price that would pass.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(a)",
        (Control.PRICE_COLLAR,),
        limits_of(("price_collar_bps", "bps")),
    ),
    ControlEntry(
        "B4",
        "Dynamic price collar",
        "An entry's distance from the middle of the quote: up to a floor, beyond it only within so many spreads and so many "
        "standard deviations of the middle's one-second moves of the last 60 s; and no entry once the price has run far in its "
        "direction within 60 s. Exits have the static collar.",
        Where.ENGINE,
        _ORDER,
        'RTS 6 Art. 15(1)(a) "over time"',
        (Control.DYNAMIC_COLLAR, Control.ADVERSE_DRIFT),
        limits_of(
            ("collar_spreads", "spreads"), ("collar_sigmas", "sigmas"), ("collar_floor_bps", "bps"), ("max_drift_bps", "bps")
        ),
    ),
    ControlEntry(
        "B5",
        "Reference freshness",
        "Best bid and ask are known, uncrossed and young; where asked, an entry needs a second source, the book where depth is "
        "kept, else the last trade, that is as young and near the middle of the quote.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(1)(ii)",
        (Control.STALE_REFERENCE, Control.SOURCE_GAP),
        (Parameter("feed.stale_after_ms", "ms"), *limits_of(("max_source_gap_bps", "bps"))),
    ),
    ControlEntry(
        "B6",
        "Venue filters",
        "Tick, step, least and largest price, quantity and notional, percent band. Unknown tick or step refuses.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(2)(i)",
        (Control.VENUE_FILTER,),
    ),
    ControlEntry(
        "B7",
        "Order type",
        "A limit that takes at once, or rests until a known time; never a bare market order.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(2)(i)",
        (Control.ORDER_TYPE,),
    ),
    ControlEntry(
        "B8",
        "Duplicate",
        "The symbol's last order again, same side, price, quantity and setup, too soon; an exit is held back no longer than its "
        "own pace, strategy.exit_retry_ms. Ids never repeat. More than three a minute alert.",
        Where.ENGINE,
        _ORDER,
        "15c3-5(c)(1)(ii)",
        (Control.DUPLICATE,),
        limits_of(("duplicate_window_ms", "ms")),
    ),
    ControlEntry(
        "B9",
        "Self-match",
        "Nothing that could trade with a live, pending or UNKNOWN order of the account; without a known price that one always "
        "could.",
        Where.ENGINE,
        _ORDER,
        "FINRA 5210.02; CEA 4c(a)",
        (Control.SELF_MATCH,),
    ),
    ControlEntry(
        "B10",
        "Signal age",
        "Time since the alarm an entry follows; unknown or future refuses.",
        Where.ENGINE,
        _ORDER,
        "quality",
        (Control.SIGNAL_AGE,),
        limits_of(("max_signal_age_ms", "ms")),
    ),
    ControlEntry(
        "B11",
        "Market impact",
        "Quantity of an entry that takes, against what is visible up to its limit price; only where depth is kept.",
        Where.ENGINE,
        _ORDER,
        "RTS 6 Art. 15(4)",
        (Control.IMPACT,),
        limits_of(("max_impact_bps", "bps")),
    ),
    ControlEntry(
        "B12",
        "Clock gate",
        "The clock's error is known, recent and small, and it has not stepped within 10 s. Exits are refused too, cancels pass; "
        "the kill switch can still leave positions.",
        Where.ENGINE,
        _AUTHORITY,
        "RTS 25",
        (Control.CLOCK,),
        limits_of(("max_clock_error_us", "us"), ("max_clock_age_ms", "ms")),
    ),
)
