"""Settings of the kill process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sentinel.config_risk import MoneyE8
from sentinel.config_venue import Section


class KillSwitchConfig(Section):
    """The kill process: `sentinel killswitch run`, with a venue session and a key of its own."""

    enabled: bool = Field(
        default=False, description="arming and new exposure need the kill process; its word is read before each order either way"
    )
    directory: str = Field(
        default="", description="its own store: latch, socket, drill records; empty: killswitch in store.directory"
    )
    api_key_env: str = Field(
        default="SENTINEL_KILL_API_KEY",
        description="name of the environment variable of its key, which must be another than the daemon's",
    )
    api_secret_env: str = Field(default="SENTINEL_KILL_API_SECRET", description="name of the environment variable of its secret")
    api_secret_file: str = Field(
        default="", description="file that holds the secret instead, readable by its owner alone; empty: the environment variable"
    )
    api_passphrase_env: str = Field(
        default="SENTINEL_KILL_API_PASSPHRASE", description="coinbase: name of the environment variable of its passphrase"
    )
    api_passphrase_file: str = Field(
        default="", description="coinbase: file that holds the passphrase instead; empty: the environment variable"
    )
    api_key_type: Literal["hmac", "ed25519"] = Field(default="hmac", description="as venue.api_key_type")
    dead_man_s: float = Field(
        default=5.0,
        ge=1.0,
        le=300.0,
        description="an armed daemon, or the kill process, that gives no sign of life for longer is dead",
    )
    flatten_bound_bps: int = Field(
        default=200, ge=1, le=5_000, description="how far from the price at its begin flattening may trade; there it stops"
    )
    flatten_slice_bps: int = Field(default=2_500, ge=100, le=10_000, description="share of what is to be flattened in one slice")
    flatten_slice_notional: MoneyE8 = Field(default=5_000, description="largest value of one slice, quote asset")
    flatten_pause_ms: int = Field(default=200, ge=10, le=60_000, description="wait between two slices of a symbol")
    baselines: dict[str, MoneyE8] = Field(
        default_factory=dict,
        description="symbol -> what the account owns of its base asset when flat; others: as the daemon last published",
    )
    persons: str = Field(
        default="",
        description="without access.roles: directory of NAME.pem, Ed25519 public keys of those who may confirm a re-arming; "
        "empty: none",
    )
