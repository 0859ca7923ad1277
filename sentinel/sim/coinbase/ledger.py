"""Settlement by Coinbase's rule: the fee is paid in the quote currency, on purchases too."""

from __future__ import annotations

from sentinel.sim.venue.account import Account, Ledger
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8
from sentinel.wire import Side


class QuoteFeeLedger(Ledger):
    """A purchase takes its fee from free quote currency.

    The venue holds the fee with the order; here it is not held, so an account that has spent its last cent elsewhere
    meanwhile may go below zero.
    """

    def settle(
        self, account: Account, instrument: Instrument, side: int, price: int, qty: int, maker: bool, unlocked: int
    ) -> tuple[int, int, str]:
        """Book one fill; returns (quote amount, commission, the quote currency)."""
        base, quote = account.balance(instrument.base), account.balance(instrument.quote)
        rate = account.rates.maker if maker else account.rates.taker
        amount = price * qty // E8
        commission = -(-price * qty * rate // (E8 * E8))
        sign = 1 if side == Side.BUY else -1
        paying = quote if side == Side.BUY else base
        paying.locked -= unlocked
        paying.free += unlocked
        base.free += sign * qty
        quote.free -= sign * amount + commission
        self.anonymous[instrument.base] -= sign * qty
        self.anonymous[instrument.quote] += sign * amount
        self.commissions[instrument.quote] += commission
        account.touched[instrument.base] = None
        account.touched[instrument.quote] = None
        return amount, commission, instrument.quote
