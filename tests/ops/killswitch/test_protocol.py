"""Whatever comes to the kill process's socket: a request of right types, or refused; nothing of it opens the word."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.errors import ControlError
from sentinel.host.control.endpoint import Peer
from sentinel.ops.killswitch.protocol import MAX_WAIT_S, Confirm, KillTo, Rearm, Status, decode_kill_request
from tests.ops.killswitch.test_authority import Bench

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4),
    max_leaves=12,
)
TEXT = st.sampled_from(["alice", "bob", "looked at everything", ""]) | st.text(max_size=500) | JSON
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "level": st.integers(-1, 6) | JSON,
    "reason": TEXT,
    "within_s": st.sampled_from([0, 0.0, -1, 1e308, MAX_WAIT_S + 1, "0"]),
    "name": TEXT,
    "nonce": TEXT,
    "signature": TEXT,
}
DO = st.sampled_from(["kill", "status", "rearm", "confirm", "Kill", "arm"]) | JSON
TREES = JSON | st.fixed_dictionaries({"do": DO}, optional=FIELDS)


@pytest.mark.parametrize("roles", [False, True], ids=["no role file", "role file"])
def test_no_request_opens_the_word_and_what_is_none_is_refused(roles: bool, tmp_path: Path) -> None:
    bench = Bench(tmp_path, roles=roles)
    bench.kill()

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(tree=TREES, uid=st.sampled_from([0, 1_001, 4_000_000]))
    def asked(tree: Any, uid: int) -> None:
        before = bench.level()
        if isinstance(tree, dict) and tree.get("do") == "kill":
            # Nobody waits here for a venue that is none.
            tree.setdefault("within_s", 0.0)
        try:
            request = decode_kill_request(json.dumps(tree).encode())
        except ControlError:
            assert bench.level() == before
            return
        assert isinstance(request, KillTo | Status | Rearm | Confirm)
        try:
            answer = asyncio.run(bench.process._admit(request, Peer(7, uid)))
        except ControlError:
            assert bench.level() == before
            return
        assert not answer.get("rearmed", False)
        assert bench.level() == (max(before, request.level) if isinstance(request, KillTo) else before)

    asked()
    bench.process.switch.close()


@settings(max_examples=300)
@given(raw=st.binary(max_size=300))
def test_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ControlError):
        decode_kill_request(raw)
