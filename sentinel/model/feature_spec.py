"""What each slot of a feature vector means: names, order, version and hash.

A vector is float32[26]. Slots 0-12 are read from the tape (and the sentiment feed) alone and travel in
one beat; slots 13-25 need quotes or longer statistics and travel in the second. NaN means absent.
How each is computed is written in sentinel.engine.features.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

from sentinel.wire import BEAT_FEATURES, MAX_FEATURES

#: Raised whenever the meaning of a slot changes, so that an artifact trained on another meaning is refused.
SPEC_VERSION = 1


class Feature(IntEnum):
    """Slot of each feature. Moves are signed and relative (0.02 = +2 %); windows follow trade time."""

    PRICE_DELTA = 0  # last price against the last one before the 60 s window
    VOLUME_RATIO = 1  # quote volume of 60 s over the average 60 s of the hour before
    SENTIMENT = 2  # -1 to 1, NaN when absent or expired
    MOVE_5S = 3
    MOVE_15S = 4
    MOVE_5M = 5
    VOLUME_RATIO_5S = 6
    TRADE_RATE_RATIO = 7  # trades of 15 s over the average 15 s of the hour before
    RUSH_RATE_RATIO = 8  # rush orders of 15 s over the average 15 s of the hour before
    RUSH_IMBALANCE = 9  # (bought - sold by rush orders) / volume, 15 s
    FLOW_IMBALANCE = 10  # (bought - sold by takers) / volume, 60 s
    RANGE_BALANCE_1H = 11  # above the 1 h low plus (negative) below the 1 h high
    MOVE_OVER_VOLATILITY = 12  # price_delta over the root mean square one-minute move of the hour before
    SPREAD = 13  # (ask - bid) / mid
    TOP_IMBALANCE = 14  # (bid qty - ask qty) / (bid qty + ask qty)
    MICROPRICE_OFFSET = 15  # (quantity-weighted mid - mid) / mid
    BELOW_HIGH_5M = 16
    ABOVE_LOW_5M = 17
    BELOW_HIGH_1H = 18
    ABOVE_LOW_1H = 19
    DAY_FRACTION = 20  # UTC time of day, 0 to 1
    HOUR_FRACTION = 21
    SECONDS_SINCE_TRADE = 22  # between the last two trades
    TRADE_SIZE_RATIO = 23  # mean trade of 15 s over the mean trade of the hour
    VOLUME_STD_CHANGE = 24  # change of the standard deviation of minute volume over 15 min
    RUSH_STD_CHANGE = 25  # the same of rush orders a minute


FEATURE_NAMES: tuple[str, ...] = tuple(feature.name.lower() for feature in Feature)
FEATURE_COUNT = len(FEATURE_NAMES)
#: Slots the default model may use: no quote, one beat.
TAPE_FEATURES = BEAT_FEATURES

if FEATURE_COUNT != MAX_FEATURES:
    raise AssertionError(f"{FEATURE_COUNT} features named, {MAX_FEATURES} fit the beats")


def spec_hash() -> int:
    """CRC-32 (u32) of the version and the slot names: equal hashes mean vectors of the same meaning."""
    return zlib.crc32(f"sentinel-features {SPEC_VERSION}\n{chr(10).join(FEATURE_NAMES)}".encode())
