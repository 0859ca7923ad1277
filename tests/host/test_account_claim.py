"""An account has one process that sends orders for it, whatever becomes of that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import JournalError
from sentinel.host.account_claim import AccountClaim

_HOLD = (
    "import sys, time; from sentinel.config import VenueConfig; from sentinel.host.account_claim import AccountClaim; "
    "claim = AccountClaim.take(VenueConfig(rest_url='http://127.0.0.1:1', stream_url='ws://127.0.0.1:1'), sys.argv[1]); "
    "print('held', flush=True); time.sleep(600)"
)


def venue(**fields: str) -> VenueConfig:
    return VenueConfig.model_validate({"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1"} | fields)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_a_second_claim_is_refused_until_the_first_is_released_and_never_shows_the_key(key: str) -> None:
    first = AccountClaim.take(venue(), key)
    with pytest.raises(JournalError, match="SENTINEL_API_KEY") as refused:
        AccountClaim.take(venue(), key)
    assert key not in str(refused.value)
    first.release()
    first.release()
    AccountClaim.take(venue(), key).release()


def test_other_keys_and_other_simulated_exchanges_are_other_accounts(key: str) -> None:
    claims = [AccountClaim.take(venue(), key), AccountClaim.take(venue(), key + "b")]
    claims.append(AccountClaim.take(venue(rest_url="http://127.0.0.1:2"), key))
    for claim in claims:
        claim.release()


def test_the_addresses_of_one_real_exchange_are_one_account(key: str) -> None:
    claim = AccountClaim.take(venue(rest_url="https://api.binance.com"), key)
    with pytest.raises(JournalError):
        AccountClaim.take(venue(rest_url="https://api1.binance.com"), key)
    claim.release()


def test_a_killed_process_leaves_its_account_free(key: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", _HOLD, key], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(JournalError):
        AccountClaim.take(venue(), key)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    AccountClaim.take(venue(), key).release()
