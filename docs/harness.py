"""How speed is measured: two ways of doing the same in turn, their CPU time, and the median of their ratios.

Seconds belong to a machine and to what else runs on it. The CPU time of one process on one thread is disturbed least,
and a ratio of two that were measured one after the other, again and again, least of all.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Clock = Callable[[], float]


def one_thread() -> None:
    """Compute on one thread. To be called before numpy and torch are imported, or it has no effect."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


def machine() -> str:
    """Date, processor, cores, and how many processes want to run: what a figure is worth without it is nothing."""
    listed = Path("/proc/cpuinfo")
    facts = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    names = [fact.partition(":")[2].strip() for fact in facts if fact.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{date.today()}; {name}, {os.cpu_count()} cores; load over 1, 5 and 15 minutes: {load}"


@dataclass(frozen=True)
class Timed:
    """Seconds of every round, by name, in the order in which they were measured."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """The median over rounds, in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median over rounds of the ratio of two that were measured in the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int = 5, clock: Clock = time.process_time) -> Timed:
    """Do each of several things once unmeasured, then all of them in turn, `rounds` times.

    clock: CPU time of this process, unless `time.perf_counter` is asked for, which waiting needs.
    """
    for do in ways.values():
        do()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, do in ways.items():
            seconds[name].append(took(do, clock))
    return Timed(seconds)


def took(do: Callable[[], object], clock: Clock = time.process_time) -> float:
    """Seconds of one call."""
    begun = clock()
    do()
    return clock() - begun


def head(*columns: str) -> None:
    """Print the machine, and the head of a Markdown table: the first column is text, the others numbers."""
    print(f"{machine()}\n")
    print(f"| {' | '.join(columns)} |\n| --- |{' ---: |' * (len(columns) - 1)}", flush=True)


def line(*cells: object) -> None:
    """Print a line of the table; numbers get three digits."""
    print(f"| {' | '.join(f'{one:.3g}' if isinstance(one, float) else str(one) for one in cells)} |", flush=True)
