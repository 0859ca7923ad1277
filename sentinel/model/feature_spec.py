"""What each slot of a feature vector means: names, order, version and hash.

A vector is float32[26]. Slots 0-12 travel in one beat and are all the default model reads; slots 13-25 travel in a
second one. All are read from the tape (and the sentiment feed) alone: no labelled pump has a recorded book.
NaN means absent. How each is computed is written in sentinel.engine.features.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

from sentinel.wire import BEAT_FEATURES, MAX_FEATURES

#: Raised whenever the meaning of a slot changes, so that an artifact trained on another meaning is refused.
SPEC_VERSION = 2


class Feature(IntEnum):
    """Slot of each feature. Moves are signed and relative (0.02 = +2 %); windows follow trade time."""

    PRICE_DELTA = 0  # last price against the last one before the 60 s window
    VOLUME_RATIO = 1  # quote volume of 60 s over the average 60 s of the hour before
    SENTIMENT = 2  # -1 to 1, NaN when absent or expired
    MOVE_5S = 3
    MOVE_15S = 4
    MOVE_5M = 5
    LARGEST_SWEEP = 6  # most prints of one taker side in one millisecond, 15 s
    TRADE_SURGE = 7  # trades of 15 s beyond those expected from the hour before, in standard deviations
    RUSH_SURGE = 8  # the same of rush orders
    HOUR_FRACTION = 9  # UTC time within the hour, 0 to 1: organised pumps start on the round hour
    DAY_VOLUME_RATIO = 10  # quote volume of 60 s over the average 60 s of the day before
    VOLUME_OVER_BUSIEST = 11  # quote volume of 60 s over the busiest minute of the hour before
    MOVE_OVER_VOLATILITY = 12  # price_delta over the root mean square one-minute move of the hour before
    SECONDS_SINCE_JUMP = 13  # since the price left the level before its jump, NaN when it has not
    MOVE_SINCE_JUMP = 14  # last price against that level, 0 when it has not
    RANGE_BALANCE_5M = 15  # above the 5 min low plus (negative) below the 5 min high
    RUSH_IMBALANCE = 16  # (bought - sold by rush orders) / volume, 15 s
    VOLUME_RATIO_5S = 17
    RANGE_BALANCE_1H = 18
    HOUR_VOLUME = 19  # quote volume of the hour before, in units of the quote: how liquid the coin is
    FLOW_IMBALANCE = 20  # (bought - sold by takers) / volume, 60 s
    DAY_FRACTION = 21  # UTC time of day, 0 to 1
    SECONDS_SINCE_TRADE = 22  # between the last two trades
    TRADE_SIZE_RATIO = 23  # mean trade of 15 s over the mean trade of the hour
    VOLUME_STD_CHANGE = 24  # change of the standard deviation of minute volume over 15 min
    RUSH_STD_CHANGE = 25  # the same of rush orders a minute


FEATURE_NAMES: tuple[str, ...] = tuple(feature.name.lower() for feature in Feature)
FEATURE_COUNT = len(FEATURE_NAMES)
#: Slots of the first beat, those the default model may use.
TAPE_FEATURES = BEAT_FEATURES

if FEATURE_COUNT != MAX_FEATURES:
    raise AssertionError(f"{FEATURE_COUNT} features named, {MAX_FEATURES} fit the beats")


def spec_hash() -> int:
    """CRC-32 (u32) of the version and the slot names: equal hashes mean vectors of the same meaning."""
    return zlib.crc32(f"sentinel-features {SPEC_VERSION}\n{chr(10).join(FEATURE_NAMES)}".encode())
