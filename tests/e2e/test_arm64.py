"""The demo's journal replayed on another architecture: every bit the same."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.full
@pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates arm64 on an x86-64 host")
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="qemu-user and arm64 libraries come from Debian packages")
def test_the_demo_journal_gives_the_same_state_hash_under_aarch64(tmp_path: Path, project_root: Path) -> None:
    root = project_root / "build" / "arm64"
    subprocess.run([str(project_root / "scripts" / "arm64-root"), str(root)], check=True, timeout=1800)
    demo = subprocess.run(
        [
            sys.executable,
            "-c",
            "from sentinel.cli.main import main; main()",
            "demo",
            "--json",
            "--minutes",
            "6",
            "--out",
            str(tmp_path / "d"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    expected = json.loads(demo.stdout.splitlines()[-1])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{root / 'site'}:{project_root}",
        "NUMBA_CACHE_DIR": str(root / "numba-cache"),
        "HOME": str(tmp_path),
    }
    script = (
        "import platform, json; from sentinel.research.run_data import ReplayedRun; "
        f"run = ReplayedRun({expected['journal']!r}); "
        "print(json.dumps({'machine': platform.machine(), 'state_hash': run.state_hash, "
        "'differing': run.replay.mismatched_effects}))"
    )
    arm = subprocess.run(
        ["qemu-aarch64", "-L", str(root), str(root / "usr" / "bin" / "python3.11"), "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert arm.returncode == 0, arm.stderr[-3000:]
    result = json.loads(arm.stdout.splitlines()[-1])
    assert result == {"machine": "aarch64", "state_hash": expected["state_hash"], "differing": 0}
