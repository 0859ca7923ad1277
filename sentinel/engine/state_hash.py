"""One hash of everything that matters: what was decided, what was ordered, what is owned.

Wall stamps, latencies, counters and which decider answered are outside it, and a tick that changes nothing
leaves it as it was.
"""

from __future__ import annotations

import hashlib

import numpy as np

from sentinel.engine.state import EngineState
from sentinel.wire import OrderState

ORDER_FIELDS = ("key", "symbol", "side", "state", "order_type", "tif", "reason", "flags", "price", "qty", "cum_qty", "cum_quote")
SYMBOL_FIELDS = ("inventory", "position", "cost", "realised", "fees")
MONEY_FIELDS = ("cash", "realised", "fees_quote", "fees_other")
STATE_FIELDS = ("epoch", "sequence", "arm_epoch", "trading_state", "killed", "decision_seq")
CHAIN_FIELDS = ("decision_chain", "order_chain", "ledger_chain")
ACCOUNT_FIELDS = MONEY_FIELDS + STATE_FIELDS + CHAIN_FIELDS


def state_hash(st: EngineState) -> str:
    """SHA-256 (hex) over live orders, chains, positions, balances and the chain of decision values."""
    digest = hashlib.sha256()
    live = st.orders[(st.orders["state"] > OrderState.FREE) & (st.orders["state"] <= OrderState.UNKNOWN)]
    live = live[np.argsort(live["key"], kind="stable")]
    for records, fields in ((live, ORDER_FIELDS), (st.symbols, SYMBOL_FIELDS), (st.glob, ACCOUNT_FIELDS)):
        digest.update(np.int64(len(records)).tobytes())
        for field in fields:
            digest.update(np.ascontiguousarray(records[field]).tobytes())
    return digest.hexdigest()
