"""The refusals the matching engine and its filters give, with the venue's codes and texts."""

from __future__ import annotations

from sentinel.sim.venue.api_error import ApiError


def filter_failure(name: str) -> ApiError:
    """-1013: an order outside a filter of its symbol."""
    return ApiError(400, -1013, f"Filter failure: {name}")


def rejected(msg: str) -> ApiError:
    """-2010: an order refused by the matching engine."""
    return ApiError(400, -2010, msg)


def cancel_rejected(msg: str = "Unknown order sent.") -> ApiError:
    """-2011: a cancel refused."""
    return ApiError(400, -2011, msg)


def amend_rejected(msg: str) -> ApiError:
    """-2038: an amendment refused."""
    return ApiError(400, -2038, msg)


def not_required(name: str) -> ApiError:
    """-1106: a parameter that does not go with the order type."""
    return ApiError(400, -1106, f"Parameter '{name}' sent when not required.")


def invalid_data(name: str) -> ApiError:
    """-1130: a parameter whose value is not one of those allowed."""
    return ApiError(400, -1130, f"Data sent for parameter '{name}' is not valid.")
