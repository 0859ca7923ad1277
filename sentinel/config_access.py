"""Who may ask a running daemon for what: the settings of ``[access]``."""

from __future__ import annotations

from pydantic import Field

from sentinel.config_venue import Section


class AccessConfig(Section):
    """Persons, their roles, and what takes two of them; see access.md."""

    roles: str = Field(
        default="",
        description="file of persons and roles; empty: on paper the daemon's user may do everything, live trading needs one",
    )
    two_person_arming: bool = Field(
        default=True, description="live: one person asks for the arming, another one confirms it; on paper one does both"
    )
    limits_cool_down_s: int = Field(
        default=600, ge=1, le=86_400, description="wait between the acceptance of wider limits and their taking effect"
    )
    approval_wait_s: int = Field(
        default=60, ge=1, le=3_600, description="how long an order waits for a person's approval before it is given up"
    )
