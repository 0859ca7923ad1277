"""Runs every benchmark, one after the other, and writes a table of targets and figures.

    benchmarks/run [--only NAME ...] [--peers] [--quick] [--out build/benchmarks.md]

Each benchmark prints medians of several runs. The table names machine, date and load before the run; the whole output of
each benchmark, with its command, follows it. --peers first installs nautilus_trader and hftbacktest into build/peers
(1.4 GB). --quick runs everything with tiny sizes: it shows that all of it works, its figures mean nothing. Needs the bench
and train extras (scripts/setup --all). Close other programs first: most targets are about tails.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "peers"

QUICK = {
    "forest": ["--runs", "1", "--rows", "64"],
    "parse": ["--messages", "256", "--runs", "1"],
    "features": ["--events", "20000", "--runs", "1"],
    "engine": ["--events", "20000", "--repeats", "1"],
    "ring": ["--records", "2000000", "--runs", "1"],
    "websocket": ["--seconds", "0.2", "--runs", "1", "--flood", "5000"],
    "pipeline": ["--seconds", "0.2", "--runs", "1", "--flood", "5000", "--symbols", "10"],
    "daemon_start": ["--runs", "1"],
    "card": ["--vectors", "200", "--runs", "1"],
    "order_encode": ["--orders", "20", "--runs", "1"],
    "order_rate": ["--minutes", "0.02"],
    "risk_gate": ["--orders", "2000", "--runs", "1"],
    "audit": ["--records", "3000", "--runs", "1"],
    "kill": ["--rounds", "40"],
    "alarms": ["--events", "3", "--silences", "1"],
}

#: What is measured, its target, the benchmark that measures it, and where its figures stand in the output.
_MEDIAN_AND_BEST = r".* (\S+) +(\S+) +[0-9a-f]{16}$"
_SPEED = "{} M/s (best {})"
_PEER_RULE = r" +(\S+) +/ (\S+) +- +- +(\S+)"
_COLUMN = r" +\S+ +/ \S+"
_FIGURES = r" +(\S+) +/ (\S+)"
_P50_P99 = "p50 {}, p99 {} us"
_PEER_FIGURES = "p50 {}, p99 {} us, {} M/s"
_ORDER = r" +(\S+) +(\S+) +\S+ +(\S+)"
_ORDER_FIGURES = "p50 {}, p99 {} us; paced p50 {} us"
_RING = r"^ring, 64 Ki slots, processes, 64 a push +"
_ALERT = r" +(\d+) +(\d+) +(\d+)"
_ALERT_FIGURES = "p50 {}, p99 {}, max {} ms"
ROWS = [
    ("forest, one row, 100 trees x depth 6", "<= 600 ns p50", "forest", r"^ours, skewed +(\d+) +(\d+)", "{} ns p50, {} ns p99"),
    ("... xgboost inplace_predict takes", ">= 150 x", "forest", r"^xgboost inplace_predict.*? (\d+\.\d) ", "{} x"),
    ("... ONNX Runtime takes", ">= 10 x", "forest", r"^ONNX Runtime.*? (\d+\.\d) ", "{} x"),
    ("... tl2cgen takes", ">= 4 x", "forest", r"^tl2cgen library.*? (\d+\.\d) ", "{} x"),
    ("parse a trade, batched", "<= 60 ns", "parse", r"^= ours, compiled parser, 64 a call +(\S+)", "{} ns p50"),
    ("... msgspec decode takes", ">= 5 x", "parse", r"^ +msgspec typed, decode.* (\S+)$", "{} x"),
    ("... msgspec, to the same integers, takes", "", "parse", r"^= msgspec typed, to integers.* (\S+)$", "{} x"),
    ("... orjson decode takes", "", "parse", r"^ +orjson, decode.* (\S+)$", "{} x"),
    (
        "features + rule, 500 symbols, busy",
        "<= 40 ns",
        "features",
        r"^features.*500.* 40 .*13 slots +(\S+) +(\S+)",
        "{} ns (best {})",
    ),
    (
        "engine step, forest on every event, busy",
        ">= 1.2 M/s",
        "engine",
        "^forest on every event, busy" + _MEDIAN_AND_BEST,
        _SPEED,
    ),
    ("... quiet", ">= 1.2 M/s", "engine", "^forest on every event, quiet" + _MEDIAN_AND_BEST, _SPEED),
    ("engine step, rule-gated, trades only", ">= 20 M/s", "engine", "^rule-gated, busy, " + _MEDIAN_AND_BEST, _SPEED),
    ("... trades and quotes", ">= 20 M/s", "engine", "^rule-gated, busy with quotes" + _MEDIAN_AND_BEST, _SPEED),
    ("bare loop over the records", "", "engine", "^bare loop" + _MEDIAN_AND_BEST, _SPEED),
    ("hftbacktest, trade replay", "", "engine", r"^hftbacktest.*? +(\S+ +\S+ +\S+ .*)$", "{}"),
    ("nautilus_trader, trade replay", "", "engine", r"^nautilus_trader.*? +(\S+ +\S+ +\S+ .*)$", "{}"),
    ("ring, between processes", ">= 50 M/s", "ring", _RING + r"(\S+) \( *(\S+)\)", _SPEED),
    ("... hop", "<= 200 ns p50", "ring", _RING + r"\S+ \( *\S+\) +(\S+) \( *(\S+)\)", "{} ns p50 (best {})"),
    ("WebSocket to intent, 50 k/s", "p50 <= 20, p99 <= 100 us", "pipeline", "^sentinel" + _COLUMN + _FIGURES, _P50_P99),
    ("... busy poll", "p50 <= 20, p99 <= 100 us", "pipeline", "^sentinel, busy poll" + _COLUMN + _FIGURES, _P50_P99),
    (
        "... while nothing else took a CPU",
        "p50 <= 20, p99 <= 100 us",
        "pipeline",
        r"^sentinel, busy poll.*\n  while both had their CPU" + _COLUMN + _FIGURES + r".* (\d+%)$",
        _P50_P99 + " ({} of the time)",
    ),
    ("... to decided, busy poll", "", "pipeline", "^sentinel, busy poll" + _FIGURES, _P50_P99),
    ("... to the order in its socket, busy poll", "", "pipeline", "^sentinel, busy poll" + 2 * _COLUMN + _FIGURES, _P50_P99),
    ("... most messages", ">= 0.5 M/s", "pipeline", "^sentinel" + 3 * _COLUMN + r" +(\S+)", "{} M/s"),
    ("picows + msgspec, rule in Python", "", "pipeline", r"^picows \+ msgspec" + _PEER_RULE, _PEER_FIGURES),
    ("websockets + orjson, rule in Python", "", "pipeline", r"^websockets \+ orjson" + _PEER_RULE, _PEER_FIGURES),
    ("daemon, warm start to first decision", "<= 1.5 s", "daemon_start", r"^warm start.*?median (\S+) s \((.*?),", "{} s ({})"),
    ("simulated card, 100 trees, streamed", ">= 50,000/s", "card", r"^simulated card, streamed +(\S+)", "{}/s"),
    ("... one at a time", ">= 8,000/s", "card", r"^simulated card, one at a time +(\S+)", "{}/s"),
    ("... vector complete to decision, RTL simulation", "<= 40 cycles", "card", r"^vector complete to decision: (.*) in", "{}"),
    ("intent to signed order", "p50 <= 25, p99 <= 100 us", "order_encode", "^ours" + _ORDER, _ORDER_FIGURES),
    ("... python-binance", "", "order_encode", r"^python-binance(?: [\d.]+)?" + _ORDER, _ORDER_FIGURES),
    ("... ccxt", "", "order_encode", r"^ccxt(?: [\d.]+)?" + _ORDER, _ORDER_FIGURES),
    ("... aiohttp", "", "order_encode", r"^aiohttp(?: [\d.]+)?" + _ORDER, _ORDER_FIGURES),
    ("orders at a steady rate, loopback", "200/s", "order_rate", r"^\d+ orders in .*?, (\S+)/s", "{}/s"),
    ("... acknowledged after", "", "order_rate", r"^acknowledged after p50 (\d+), p99 (\d+)", "p50 {}, p99 {} us"),
    (
        "risk gate, all controls, one order",
        "p50 <= 2,000, p99 <= 5,000 ns",
        "risk_gate",
        r"^all controls, one order, warm +(\d+) +(\d+)",
        "p50 {}, p99 {} ns",
    ),
    ("... after 4 MiB of other memory", "", "risk_gate", r"^all controls, one order, cold +(\d+) +(\d+)", "p50 {}, p99 {} ns"),
    (
        "audit trail, built, chained, on the disk",
        ">= 200,000/s",
        "audit",
        r"^trail, .*? ([\d,]+) \( *(\S+)\) +(\S+)",
        "{}/s (best {}; {} a CPU second)",
    ),
    ("... verified", "", "audit", r"^verified +(\S+)", "{}/s"),
    ("... sqlite3 WAL with the same hashes", "", "audit", r"^sqlite3.*? ([\d,]+) \( *(\S+)\)", "{}/s (best {})"),
    ("... JSON lines with the same hashes", "", "audit", r"^json lines.*? ([\d,]+) \( *(\S+)\)", "{}/s (best {})"),
    ("... memory after the first minute", "<= 4096 KiB", "order_rate", r"^memory .*: (\S+) KiB", "{} KiB"),
    (
        "kill word stored -> gate closed, full load",
        "<= 1 ms p99",
        "kill",
        r"^quiet core, gate closed +(\S+) +(\S+)",
        "p50 {}, p99 {} ms",
    ),
    ("... last order at the socket", "", "kill", r"^quiet core, last order at the socket +(\S+) +(\S+)", "p50 {}, p99 {} ms"),
    ("event to alert, process to webhook", "<= 1 s", "alarms", r"^event to alert" + _ALERT, _ALERT_FIGURES),
    ("... from the limit of a daemon's silence", "<= 1 s", "alarms", r"^limit of silence to alert" + _ALERT, _ALERT_FIGURES),
]


def run_one(name: str, arguments: list[str]) -> str:
    """The output of one benchmark, shown as it comes."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"bench_{name}.py"), *arguments]
    print(f"\n== benchmarks/bench_{name}.py {' '.join(arguments)}", flush=True)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        raise SystemExit(f"bench_{name}.py failed:\n{process.stderr.read()}")
    return "".join(lines)


def machine() -> str:
    """Processor, cores, memory, kernel, Python, load."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.findall(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[0]) >> 20
    model = models[0] if models else platform.machine()
    system = f"{os.cpu_count()} CPUs, {memory} GiB, Linux {platform.release()}"
    return f"{model}, {system}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def table(outputs: dict[str, str]) -> list[str]:
    """Markdown rows of everything that was measured."""
    lines = ["| what | target | measured |", "|---|---|---|"]
    for what, target, name, pattern, text in ROWS:
        if name in outputs:
            found = re.search(pattern, outputs[name], re.MULTILINE)
            lines.append(f"| {what} | {target} | {text.format(*found.groups()) if found else 'not in the output'} |")
    return lines


def install_peers() -> None:
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    requirements = str(ROOT / "benchmarks" / "peers.txt")
    subprocess.run([str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(QUICK), default=list(QUICK), metavar="NAME", help=", ".join(QUICK))
    parser.add_argument("--peers", action="store_true", help="install nautilus_trader and hftbacktest first")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks.md")
    options = parser.parse_args()
    if options.peers:
        install_peers()
    head = machine()
    print(head)
    started = datetime.datetime.now(datetime.UTC)
    outputs = {name: run_one(name, QUICK[name] if options.quick else []) for name in options.only}
    command = " ".join(["benchmarks/run", *sys.argv[1:]])
    lines = [f"`{command}`, {started:%Y-%m-%d %H:%M} UTC, {head}", "", *table(outputs)]
    for name, output in outputs.items():
        lines += ["", f"## bench_{name}", "", "```", output.strip("\n"), "```"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n" + "\n".join(table(outputs)) + f"\n\nwritten to {options.out}")


if __name__ == "__main__":
    main()
