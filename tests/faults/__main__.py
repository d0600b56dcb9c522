"""`python -m tests.faults --hours 1`: kill commands, fill and tear their disk, mutate inputs; print figures.

Half of the time goes to commands and half to inputs. Every command is typed again after its fault, and must leave the
same bytes as one that nothing disturbed, a complete MLflow store, and nothing unfinished. The tables are those of
docs/reliability.md. Exit status 1 where anything was not as it should be.
"""

import argparse
import importlib.util
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutations
from commands import COMMANDS, Place, ended, kill, ray_cluster, wrong

WORDS = {
    ("kill", "moment"): "killed at any moment",
    ("kill", "checkpoint"): "killed in training, before a checkpoint is renamed",
    ("kill", "write"): "killed with a file open, of which nothing is written",
    ("kill", "rename"): "killed before a file is renamed",
    ("kill", "statement"): "killed while the MLflow database is made or logged to",
    ("kill", "page"): "killed while the board is rendered",
    ("torn", "rename"): "power lost: half a file under its name",
    ("kill", "mkdir"): "killed before a folder is made",
    ("kill", "database"): "killed before a database is opened",
    ("full", "rename"): "disk full when a file is renamed",
    ("full", "write"): "disk full when a file is opened",
    ("full", "statement"): "disk full in the MLflow database",
    ("slow", "rename"): "slow disk",
}


def disturbed(
    place: Place, names: list[str], faults: list[tuple[str, str]], count: int, seconds: float, rng: random.Random
) -> Iterator[tuple[str, tuple[str, str], str]]:
    """Commands, disturbed in turn: the command, the fault, and what was wrong afterwards."""
    place.prepare(names)
    took, events = {}, {}
    for name in names:
        begun = time.monotonic()
        assert ended(place.start(name, f"expected {name}"), 1200) == 0, place.log(f"expected {name}")
        took[name], events[name] = time.monotonic() - begun, place.events(f"expected {name}")
    end, number, met = time.monotonic() + seconds, 0, 0
    pairs = [(name, fault) for fault in faults for name in names if fault[1] == "moment" or events[name][fault[1]]]
    while met < count and time.monotonic() < end:
        name, (kind, event) = pairs[number % len(pairs)]
        run, patience = f"{number}", 20 * took[name] + 120
        number += 1
        if event == "moment":
            process = place.start(name, run)
            process.join(rng.uniform(0.05, 0.9) * took[name])
            happened = process.exitcode is None
            kill(process)
        else:
            nth = rng.randint(1, events[name][event])
            stopped = ended(place.start(name, run, kind, event, nth), patience) is None
            happened = not stopped and place.events(run)[event] >= nth
        again = ended(place.start(name, run), patience) if happened else 0
        why = ["hung"] if again is None else [f"status {again}"] * bool(again)
        if happened and again == 0:
            why = wrong(place, run, place.home(f"expected {name}"))
        if happened:  # otherwise the command was over, or had fewer such events
            met += 1
            yield name, (kind, event), ", ".join(why)
        if not why:
            shutil.rmtree(place.home(run))


def table(met: Counter[tuple[str, tuple[str, str]]], right: Counter[tuple[str, tuple[str, str]]]) -> str:
    """By fault and by command how often it happened, and how often the same bytes came of it."""
    lines = ["| what happened | times | the same afterwards |", "| --- | ---: | ---: |"]
    for fault, words in WORDS.items():
        if times := sum(n for (_, f), n in met.items() if f == fault):
            lines.append(f"| {words} | {times} | {sum(n for (_, f), n in right.items() if f == fault)} |")
    lines += [
        f"| **all** | {met.total()} | {right.total()} |",
        "",
        "| command | killed | otherwise disturbed | the same |",
    ]
    lines.append("| --- | ---: | ---: | ---: |")
    for name in COMMANDS:
        killed = sum(n for (one, (kind, _)), n in met.items() if one == name and kind in ("kill", "torn"))
        if every := sum(n for (one, _), n in met.items() if one == name):
            same = sum(n for (one, _), n in right.items() if one == name)
            lines.append(f"| `{name}` | {killed} | {every - killed} | {same} |")
    return "\n".join(lines)


def main() -> None:
    """Run the campaign, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kill, fill, tear, mutate.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=100_000, help="disturbed commands at most")
    parser.add_argument("--kinds", default="kill,torn,full,slow", help="which faults, by commas")
    parser.add_argument("--mutations", type=int, default=10_000, help="mutated inputs at most")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="which, by commas; `-` for none")
    asked = parser.parse_args()
    names = [name for name in COMMANDS if name in asked.commands.split(",")]
    if "run on Ray" in names and importlib.util.find_spec("ray") is None:
        names.remove("run on Ray")
    faults = [fault for fault in WORDS if fault[0] in asked.kinds.split(",")]
    rng, folder = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="faults-"))
    place, met, right, bad = Place(folder), Counter(), Counter(), 0
    with ray_cluster(place) if "run on Ray" in names else nullcontext():
        for name, fault, why in disturbed(place, names, faults, asked.faults, 1800 * asked.hours, rng) if names else ():
            met[name, fault] += 1
            right[name, fault] += not why
            bad += bool(why)
            print(f"{met.total()} {name}: {WORDS[fault]}: {why or 'the same'}", flush=True)
    mutated, end = Counter[tuple[str, str]](), time.monotonic() + 1800 * asked.hours
    if asked.mutations and not names:
        place.prepare([])
    inputs = mutations.campaign(folder, place.home("whole") / "out", asked.mutations, rng) if asked.mutations else ()
    for kind, outcome, why in inputs:
        mutated[kind, outcome] += 1
        if why:
            bad += 1
            print(f"{kind}: {outcome}: {why}", flush=True)
        if time.monotonic() > end:
            break
    print(f"\n{table(met, right)}\n\n{mutations.table(mutated)}")
    if bad:
        print(f"\n{bad} were wrong; what they left is in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
