"""The catalogue's group E: monitoring, stopping from outside, governance."""

from __future__ import annotations

from sentinel.engine.risk.entry import Action, ControlEntry, Parameter, Where
from sentinel.wire import Control

_KILL_PROCESS = "ops/killswitch/process.py"

WATCH_CONTROLS = (
    ControlEntry(
        "E1",
        "Alarm",
        "An alarm can ask for REDUCE_ONLY or for the kill switch; either is latched until a person arms.",
        Where.ENGINE,
        "engine/control.py",
        "RTS 6 Art. 16",
        (Control.ALARM,),
        (),
        (Action.REDUCE_ONLY, Action.KILL),
    ),
    ControlEntry(
        "E2",
        "Independent monitor",
        "The kill process watches daemon and account by a session of its own: an armed daemon that gives no sign of life "
        "has its orders cancelled, and a daemon that must have a kill process only reduces positions without one.",
        Where.PROCESS,
        f"{_KILL_PROCESS}, host/kill_guard.py",
        "RTS 6 Art. 16, 17",
        (),
        (Parameter("killswitch.dead_man_s", "s"),),
        (Action.REDUCE_ONLY, Action.KILL),
    ),
    ControlEntry(
        "E4",
        "Order of unknown outcome",
        "An order whose outcome is unknown counts in full and freezes its symbol until the venue has said what became of it.",
        Where.ENGINE,
        "engine/risk/authority.py",
        "RTS 6 Art. 17",
        (Control.UNKNOWN_ORDER,),
        (Parameter("risk.ack_timeout_ms", "ms"),),
    ),
    ControlEntry(
        "E5",
        "Timer at the venue",
        "Spot venues have no timer that cancels by itself; E2 cancels for a daemon that is silent.",
        Where.NOWHERE,
        "",
        "RTS 6 Art. 12",
        actions=(Action.NONE,),
    ),
    ControlEntry(
        "E6",
        "Kill levels",
        "1 stops new orders, 2 also cancels and asks until nothing is open, 3 also leaves positions by bounded slices "
        "through a gate of its own that only reduces, 4 also disconnects; latched over restarts, ended by named persons.",
        Where.PROCESS,
        f"{_KILL_PROCESS}, host/kill_word.py",
        "RTS 6 Art. 12",
        (),
        (
            Parameter("killswitch.flatten_bound_bps", "bps"),
            Parameter("killswitch.flatten_slice_bps", "bps"),
            Parameter("killswitch.flatten_slice_notional", "quote"),
        ),
        (Action.KILL,),
    ),
    ControlEntry(
        "E7",
        "Kill drill",
        "All levels on a daemon with open orders and positions, timed, with its record kept.",
        Where.PROCESS,
        "ops/killswitch/drill.py",
        "RTS 6 Art. 14(4)",
        actions=(Action.NONE,),
    ),
    ControlEntry(
        "E8",
        "Audit completeness",
        "No journal, or an audit trail too far behind, no new order.",
        Where.ENGINE,
        "engine/risk/authority.py",
        "17a-4; RTS 6 Art. 28",
        (Control.JOURNAL,),
        (Parameter("audit.max_backlog_ms", "ms"),),
    ),
    ControlEntry(
        "E10",
        "Change of limits",
        "Limits are signed; tighter ones hold at once, wider ones need two persons and a wait, and none exceeds the settings.",
        Where.HOST,
        "host/control/limits_desk.py",
        "RTS 6 Art. 5, 11",
        (),
        (Parameter("access.limits_cool_down_s", "s"),),
    ),
    ControlEntry(
        "E15",
        "Access",
        "Who asks is known from the socket, may do what the role allows, and is in the audit trail; no secret is ever shown.",
        Where.HOST,
        "host/control/gatekeeper.py, host/control/roles.py",
        "15c3-5(c)(2)(iii); RTS 6 Art. 18",
        (),
        (Parameter("access.roles", "file"),),
    ),
)
