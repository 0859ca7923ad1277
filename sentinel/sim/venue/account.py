"""Balances of the simulated exchange: free and locked amounts, settlement and commissions, all int64 e8."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.refusals import rejected
from sentinel.units import E8, notional
from sentinel.wire import Side

INSUFFICIENT = "Account has insufficient balance for requested action."


@dataclass(slots=True)
class Balance:
    """One asset, e8; ``locked`` is held by open orders."""

    free: int = 0
    locked: int = 0


@dataclass(frozen=True, slots=True)
class CommissionRates:
    """Fractions of the received amount in 1e-8: the default is 0.1 % for both sides."""

    maker: int = E8 // 1000
    taker: int = E8 // 1000


@dataclass(slots=True)
class Account:
    """One customer. ``touched`` collects the assets changed since the last outboundAccountPosition.

    Accounts of one ``trade_group`` do not trade with each other; where it is empty the account is alone in its own.
    """

    name: str
    uid: int
    rates: CommissionRates = CommissionRates()
    balances: dict[str, Balance] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)
    update_ms: int = 0
    trade_group: str = ""

    @property
    def group(self) -> str:
        return self.trade_group or self.name

    def balance(self, asset: str) -> Balance:
        found = self.balances.get(asset)
        if found is None:
            found = self.balances[asset] = Balance()
        return found

    def lock(self, asset: str, amount: int) -> None:
        """Move an amount from free to locked. Raises ApiError -2010 when too little is free."""
        balance = self.balance(asset)
        if amount > balance.free:
            raise rejected(INSUFFICIENT)
        balance.free -= amount
        balance.locked += amount
        self.touched[asset] = None

    def unlock(self, asset: str, amount: int) -> None:
        """Give a locked amount back."""
        if amount == 0:
            return
        balance = self.balance(asset)
        balance.locked -= amount
        balance.free += amount
        self.touched[asset] = None


def locked_asset(instrument: Instrument, side: int) -> str:
    """What an order of ``side`` pays with."""
    return instrument.quote if side == Side.BUY else instrument.base


def required_lock(side: int, price: int, qty: int) -> int:
    """The amount a resting order keeps locked: the quote it may cost, rounded up, or the base it sells."""
    return notional(price, qty, round_up=True) if side == Side.BUY else qty


class Ledger:
    """All accounts, the commissions taken, and what the anonymous market gave and got: each asset sums to a constant."""

    def __init__(self, accounts: Mapping[str, Mapping[str, int]], rates: CommissionRates) -> None:
        self.accounts: dict[str, Account] = {}
        for uid, (name, balances) in enumerate(accounts.items(), start=1):
            held = {asset: Balance(amount) for asset, amount in balances.items()}
            self.accounts[name] = Account(name, uid, rates, held)
        self.commissions: defaultdict[str, int] = defaultdict(int)
        self.anonymous: defaultdict[str, int] = defaultdict(int)

    def settle(
        self, account: Account, instrument: Instrument, side: int, price: int, qty: int, maker: bool, unlocked: int
    ) -> tuple[int, int, str]:
        """Book one fill of an account order against the anonymous market; returns (quote amount, commission, its asset).

        ``unlocked`` is what the order's lock shrinks by; what the fill does not cost of it becomes free. A trade between two
        accounts settles each side against the market, which nets to zero. Commission is rounded up, against the customer.
        """
        quote_amount = price * qty // E8
        rate = account.rates.maker if maker else account.rates.taker
        if side == Side.BUY:
            paid_asset, paid, got_asset, got = instrument.quote, quote_amount, instrument.base, qty
        else:
            paid_asset, paid, got_asset, got = instrument.base, qty, instrument.quote, quote_amount
        commission = -(-got * rate // E8)
        paying, getting = account.balance(paid_asset), account.balance(got_asset)
        paying.locked -= unlocked
        paying.free += unlocked - paid
        getting.free += got - commission
        self.commissions[got_asset] += commission
        self.anonymous[paid_asset] += paid
        self.anonymous[got_asset] -= got
        account.touched[paid_asset] = None
        account.touched[got_asset] = None
        return quote_amount, commission, got_asset

    def total(self, asset: str) -> int:
        """Sum over accounts, commissions and the anonymous market: constant for the life of the ledger."""
        held = sum(a.balances[asset].free + a.balances[asset].locked for a in self.accounts.values() if asset in a.balances)
        return held + self.commissions[asset] + self.anonymous[asset]
