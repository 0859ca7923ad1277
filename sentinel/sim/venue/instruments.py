"""What can be traded on the simulated exchange: symbols, their assets and their filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.errors import VenueError
from sentinel.units import E8, format_e8, parse_e8

ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol. Prices, quantities, notionals and price multipliers are int64 in units of 1e-8; 0 switches a bound off.

    ``price_range_bps`` is the execution rule PRICE_RANGE: how far from the reference price a taker may trade.
    """

    symbol: str
    base: str
    quote: str
    tick: int = 100
    step: int = 100
    min_price: int = 0
    max_price: int = 0
    min_qty: int = 0
    max_qty: int = 0
    market_max_qty: int = 0
    min_notional: int = 5 * E8
    max_notional: int = 9_000_000 * E8
    bid_up: int = 5 * E8
    bid_down: int = E8 // 5
    ask_up: int = 5 * E8
    ask_down: int = E8 // 5
    avg_price_mins: int = 5
    max_orders: int = 200
    max_algo_orders: int = 5
    max_order_lists: int = 20
    max_amends: int = 10
    max_position: int = 0
    price_range_bps: int = 0
    status: str = "TRADING"

    def __post_init__(self) -> None:
        for name in ("tick", "step"):
            if getattr(self, name) < 0:
                raise VenueError(f"{self.symbol}.{name}", getattr(self, name), "0 or more", "give the increment in units of 1e-8")

    def exchange_info(self) -> dict[str, Any]:
        """The symbol's entry in ``exchangeInfo.symbols`` (facts of the venue's REST reference)."""
        return {
            "symbol": self.symbol,
            "status": self.status,
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": list(ORDER_TYPES),
            "icebergAllowed": False,
            "ocoAllowed": True,
            "otoAllowed": True,
            "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self.filters(),
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": list(STP_MODES),
        }

    def filters(self) -> list[dict[str, Any]]:
        """The symbol's filters as exchangeInfo prints them."""
        filters: list[dict[str, Any]] = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": format_e8(self.min_price),
                "maxPrice": format_e8(self.max_price),
                "tickSize": format_e8(self.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": format_e8(self.min_qty),
                "maxQty": format_e8(self.max_qty),
                "stepSize": format_e8(self.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": format_e8(self.market_max_qty),
                "stepSize": "0.00000000",
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": format_e8(self.bid_up),
                "bidMultiplierDown": format_e8(self.bid_down),
                "askMultiplierUp": format_e8(self.ask_up),
                "askMultiplierDown": format_e8(self.ask_down),
                "avgPriceMins": self.avg_price_mins,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": format_e8(self.min_notional),
                "applyMinToMarket": True,
                "maxNotional": format_e8(self.max_notional),
                "applyMaxToMarket": False,
                "avgPriceMins": self.avg_price_mins,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.max_orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": self.max_algo_orders},
            {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": self.max_order_lists},
            {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": self.max_amends},
        ]
        if self.max_position:
            filters.append({"filterType": "MAX_POSITION", "maxPosition": format_e8(self.max_position)})
        return filters

    @classmethod
    def from_exchange_info(cls, info: Mapping[str, Any]) -> Instrument:
        """Read an entry of a real ``exchangeInfo``. Raises VenueError where a needed key is missing or malformed."""
        try:
            filters = {item["filterType"]: item for item in info["filters"]}
            price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
            market = filters.get("MARKET_LOT_SIZE", {})
            notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
            percent = filters.get("PERCENT_PRICE_BY_SIDE", {})
            position = filters.get("MAX_POSITION", {})
            return cls(
                symbol=info["symbol"],
                base=info["baseAsset"],
                quote=info["quoteAsset"],
                tick=parse_e8(price["tickSize"]),
                step=parse_e8(lot["stepSize"]),
                min_price=parse_e8(price["minPrice"]),
                max_price=parse_e8(price["maxPrice"]),
                min_qty=parse_e8(lot["minQty"]),
                max_qty=parse_e8(lot["maxQty"]),
                market_max_qty=parse_e8(market.get("maxQty", "0")),
                min_notional=parse_e8(notional.get("minNotional", "0")),
                max_notional=parse_e8(notional.get("maxNotional", "0")),
                bid_up=parse_e8(percent.get("bidMultiplierUp", "0")),
                bid_down=parse_e8(percent.get("bidMultiplierDown", "0")),
                ask_up=parse_e8(percent.get("askMultiplierUp", "0")),
                ask_down=parse_e8(percent.get("askMultiplierDown", "0")),
                avg_price_mins=int(percent.get("avgPriceMins", 5)),
                max_orders=int(filters.get("MAX_NUM_ORDERS", {}).get("maxNumOrders", 200)),
                max_algo_orders=int(filters.get("MAX_NUM_ALGO_ORDERS", {}).get("maxNumAlgoOrders", 5)),
                max_order_lists=int(filters.get("MAX_NUM_ORDER_LISTS", {}).get("maxNumOrderLists", 20)),
                max_amends=int(filters.get("MAX_NUM_ORDER_AMENDS", {}).get("maxNumOrderAmends", 10)),
                max_position=parse_e8(position.get("maxPosition", "0")),
                status=info.get("status", "TRADING"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise VenueError(
                "exchangeInfo.symbols",
                info.get("symbol"),
                "an entry with PRICE_FILTER and LOT_SIZE",
                f"check the venue: {error!r}",
            ) from None
