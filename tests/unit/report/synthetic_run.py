"""A made-up but realistic run folder: three architectures, a spike, throttles, a full database, a few anomalies."""

import heapq
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARCHITECTURES = ("sync", "buffered-sqs", "buffered-kinesis")
QUIET, SPIKE, TAIL = 4.0, 14.0, 26.0
MAX_CONNECTIONS = 20


def make_run(folder: Path, *, quiet_rate: float = 25.0, seed: int = 42, clean: bool = True) -> Path:
    """Write a run folder; at 25 orders/s about 3,000 orders per architecture. ``clean=False`` adds anomalies."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)  # noqa: S311 - made-up data, no secret
    planned = [*_arrivals(chance, 0, QUIET, quiet_rate), *_arrivals(chance, QUIET, SPIKE, 10 * quiet_rate)]
    planned += _arrivals(chance, SPIKE, TAIL, quiet_rate)
    orders = [(f"order-{i:05d}", t, "broken json" if chance.random() < 0.01 else None) for i, t in enumerate(planned)]
    history: list[dict[str, Any]] = []
    journal: list[dict[str, Any]] = []
    verdicts = {}
    for name in ARCHITECTURES:
        attempts, hops = (_sync if name == "sync" else _buffered)(chance, name, orders)
        history += attempts
        journal += sorted(hops, key=lambda hop: hop["t"])
        verdicts[name] = _verdict(name, attempts, hops, clean=clean)
    states = {verdict["verdict"] for verdict in verdicts.values()}
    verdict = {
        "schema_version": 1,
        "scenario": "flash-sale",
        "seed": seed,
        "verdict": "invalid" if "invalid" in states else "valid",
        "engine": {
            "mode": "process",
            "emulator": "localstack",
            "emulator_version": "4.9.2",
            "postgres_version": "16.14",
            "max_connections": MAX_CONNECTIONS,
        },
        "architectures": verdicts,
    }
    manifest = {
        "schema_version": 1,
        "options": {
            "scenario": "flash-sale",
            "seed": seed,
            "seed_from": "generated",
            "architectures": [],
            "scale": 1.0,
        },
        "seed": seed,
        "engine": verdict["engine"],
        "versions": {"python": "3.11.2", "serverless-testbed": "0.1.0", "botocore": "1.44.5"},
        "retry_mode": "legacy",
        "machine": {"system": "Linux-6.1", "cpus": 2, "memory_gb": 8.0},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "verdict.json").write_text(json.dumps(verdict))
    _write_lines(folder / "history.jsonl", history)
    _write_lines(folder / "journal.jsonl", journal)
    return folder


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _arrivals(chance: random.Random, start: float, end: float, rate: float) -> Iterator[float]:
    t = start + chance.expovariate(rate)
    while t < end:
        yield t
        t += chance.expovariate(rate)


def _attempt(name: str, order: tuple[str, float, str | None], finished: float, **fields: Any) -> dict[str, Any]:
    order_id, planned, poison = order
    trace = f"1-{round(planned * 1000):08x}-{hash(order_id) & (16**24 - 1):024x}"
    return {
        "architecture": name,
        "id": order_id,
        "planned": planned,
        "sent": planned + 0.001,
        "finished": finished,
        "trace": trace,
        "poison": poison,
        "error": None,
        **fields,
    }


def _sync(chance: random.Random, name: str, orders: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    attempts, hops = [], []
    busy: list[float] = []  # when each connection is free again
    open_now: list[tuple[float, int]] = []
    for order in orders:
        _, t, poison = order
        spiking = QUIET <= t < SPIKE
        while busy and busy[0] < t:
            heapq.heappop(busy)
        if poison:
            attempts.append(_attempt(name, order, t + 0.03, outcome="refused", status=400, error="bad order"))
        elif spiking and chance.random() < 0.1:
            hops.append(_fault(name, t, "throttled-lambda", "lambda", "Invoke"))
            attempts.append(_attempt(name, order, t + 0.02, outcome="refused", status=429, error="throttled"))
        elif len(busy) >= MAX_CONNECTIONS - 3:
            hops.append({"t": t, "architecture": name, "hop": "postgres", "event": "refused", "sqlstate": "53300"})
            attempts.append(_attempt(name, order, t + 0.05, outcome="refused", status=503, error="database full"))
        else:
            took = chance.lognormvariate(-1.9 if spiking else -4.2, 0.5)
            if spiking:
                hops.append(_fault(name, t, "slow-postgres", "postgres", ""))
            heapq.heappush(busy, t + took)
            hops.append(_insert(name, t + took))
            attempts.append(_attempt(name, order, t + took + 0.008, outcome="acknowledged", status=200))
        open_now.append((t, len(busy)))
    last = 0
    for i in range(int(TAIL * 4)):
        seen = [n for t, n in open_now if i / 4 <= t < (i + 1) / 4]
        last = max(seen, default=last)
        hops.append(_sample(name, i / 4, queue_depth=0, connections=last, concurrency={"orders": last}, stored=0))
    return attempts, hops


def _buffered(chance: random.Random, name: str, orders: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    attempts, hops = [], []
    rate, workers = (95.0, 10) if name == "buffered-sqs" else (72.0, 4)
    free = 0.0
    waits: list[tuple[float, float]] = []
    for order in orders:
        _, t, poison = order
        spiking = QUIET <= t < SPIKE
        took = chance.lognormvariate(-4.0, 0.4)
        if spiking and chance.random() < 0.15:
            hops.append(_fault(name, t, f"throttled-{name.split('-')[1]}", name.split("-")[1], "Send"))
            took += chance.uniform(0.05, 0.4)
        attempts.append(_attempt(name, order, t + took, outcome="acknowledged", status=202))
        slow = 1.5 if QUIET <= free < SPIKE else 1.0
        free = max(free, t + took + 0.05) + chance.expovariate(rate) * slow
        waits.append((t + took, free))
        if spiking:
            hops.append(_fault(name, t, "slow-postgres", "postgres", ""))
        if not poison:
            hops.append(_insert(name, free))
    for i in range(int(free * 4) + 4):
        now = i / 4
        depth = sum(1 for start, end in waits if start <= now < end)
        busy = min(workers, depth)
        hops.append(
            _sample(name, now, queue_depth=depth, connections=min(workers, busy + 1), concurrency={"consumer": busy})
        )
    return attempts, hops


def _fault(name: str, t: float, fault: str, service: str, operation: str) -> dict[str, Any]:
    return {"t": t, "architecture": name, "hop": "fault", "fault": fault, "service": service, "operation": operation}


def _insert(name: str, t: float) -> dict[str, Any]:
    return {"t": t, "architecture": name, "hop": "postgres", "event": "insert", "rows": 1}


def _sample(name: str, t: float, **fields: Any) -> dict[str, Any]:
    return {"t": t, "architecture": name, "hop": "sample", "stored": 0, "behind": 0.0, **fields}


def _verdict(name: str, attempts: list[Any], hops: list[Any], *, clean: bool) -> dict[str, Any]:
    outcomes = [attempt["outcome"] for attempt in attempts]
    poison = sum(1 for attempt in attempts if attempt["poison"])
    latencies = sorted(1000 * (a["finished"] - a["planned"]) for a in attempts if a["outcome"] == "acknowledged")
    samples = [hop for hop in hops if hop["hop"] == "sample"]
    lost = [] if clean or name != "buffered-kinesis" else ["order-00107", "order-00431", "order-01200", "order-02011"]
    stored = sum(1 for hop in hops if hop.get("event") == "insert") - len(lost)
    accepted = outcomes.count("acknowledged")
    ledger = {
        "attempted": len(attempts),
        "acknowledged": accepted,
        "refused": outcomes.count("refused"),
        "unknown": 0,
        "unsent": 0,
        "stored": stored,
        "dead_lettered": 0 if name == "sync" else poison,
        "left": 0,
        "lost": len(lost),
        "duplicated": 0,
        "ghost": 0,
        "unexpected": 0,
        "refused_but_stored": 0,
        "poison": poison,
        "poison_stored": 0,
        "collateral": 0,
    }
    expectations = [
        {
            "claim": "no acknowledged order is lost",
            "holds": not lost,
            "observed": f"{len(lost)} of {accepted:,} lost",
        },
        {"claim": "no order is stored twice", "holds": True, "observed": "0 duplicated"},
    ]
    if name == "sync":
        refused = outcomes.count("refused")
        expectations.append(
            {
                "claim": "the spike makes it refuse orders",
                "holds": True,
                "observed": f"{refused:,} refused",
            }
        )
    else:
        expectations.append(
            {
                "claim": "every order is accepted",
                "holds": accepted == len(attempts),
                "observed": f"{accepted:,}",
            }
        )
        expectations.append(
            {
                "claim": "exactly the poison is dead-lettered",
                "holds": None if lost else True,
                "observed": f"{poison} of {poison}",
            }
        )
    return {
        "verdict": "invalid" if lost else "valid",
        "ledger": ledger,
        "examples": {"lost": lost} if lost else {},
        "latency_ms": {
            key: latencies[min(len(latencies) - 1, int(q * len(latencies)))]
            for key, q in {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}.items()
        },
        "resources": {
            "peak_concurrency": max(sum(hop["concurrency"].values()) for hop in samples),
            "peak_connections": max(hop["connections"] for hop in samples),
            "throttles": sum(1 for hop in hops if "throttled" in hop.get("fault", "")),
            "cold_starts": 10,
            "peak_queue_depth": max(hop["queue_depth"] for hop in samples),
            "drain_seconds": max(0.0, round(max(hop["t"] for hop in hops) - TAIL, 1)),
        },
        "faults": {"armed": 3, "fired": 2},
        "expectations": expectations,
    }
