"""The rule table a strategy's settings ask for."""

from __future__ import annotations

from sentinel.config import StrategyConfig
from sentinel.model.rule import RuleTable, pump_rules
from sentinel.units import BPS


def rules_of(strategy: StrategyConfig) -> RuleTable:
    """Pump rule and its mirror from the thresholds of the configuration."""
    return pump_rules(strategy.price_delta_min_bps / BPS, strategy.volume_ratio_min_pct / 100, strategy.sentiment_max_pct / 100)
