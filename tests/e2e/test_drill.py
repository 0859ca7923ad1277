"""``sentinel drill --demo`` from nothing: exchange, kill process and daemon, every level within its bound, a record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.json_keys import documented_keys

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]


@pytest.mark.full
@pytest.mark.control("E7")
def test_a_drill_on_the_demo_is_green_and_leaves_its_record(tmp_path: Path) -> None:
    command = [*MAIN, "drill", "--demo", "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert set(answer) == documented_keys("drill")
    assert [measure["level"] for measure in answer["measures"]] == [1, 1, 2, 3, 4]
    assert answer["passed"]
    assert answer["bought"]
    record = json.loads(Path(answer["record"]).read_text())
    assert record["status"]["orders_found"] == 0
    assert record["status"]["flatten"]
    assert record["measures"] == answer["measures"]
    # No process of the drill outlives it, and no key is in anything it wrote.
    for name in ("run.log", "killswitch.log"):
        assert "Traceback" not in (tmp_path / "out" / name).read_text()
