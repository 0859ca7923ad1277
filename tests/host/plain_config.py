"""The smallest valid settings."""

from typing import Any

from sentinel.config import Config, parse_config


def plain_config(directory: Any, **sections: Any) -> Config:
    """One symbol, no endpoint that answers, a small journal in ``directory``."""
    return parse_config(
        {
            "venue": {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9"},
            "feed": {"symbols": ["BTCUSDT"]},
            "store": {"directory": str(directory), "segment_mib": 1},
            **sections,
        }
    )
