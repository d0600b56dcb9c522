"""`python -m tests.faults --hours 1`: kill commands, fill and tear their disk, mutate inputs; print figures.

Half of the time goes to commands and half to inputs. Every command is typed again after its fault, and must leave the
same bytes as one that nothing disturbed, a complete MLflow store, and nothing unfinished. The tables are those of
docs/reliability.md. Exit status 1 where anything was not as it should be.
"""

import argparse
import importlib.util
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutations
from commands import COMMANDS, LOGGED, Place, content, kill, left_behind, logged

FAULTS = [
    ("kill", "rename"), ("kill", "mkdir"), ("kill", "database"), ("kill", "moment"), ("torn", "rename"),
    ("full", "rename"), ("slow", "rename"),
]  # fmt: skip
WORDS = {
    "kill rename": "killed before a file is renamed", "kill mkdir": "killed before a folder is made",
    "kill database": "killed before a database is opened", "kill moment": "killed at any moment",
    "torn rename": "power lost: half a file under its name", "full rename": "disk full",
    "slow rename": "slow disk",
}  # fmt: skip


def disturbed(place: Path, names: list[str], seconds: float, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Commands, disturbed in turn, until the time is over: the command, the fault, and what was wrong afterwards."""
    here = Place(place)
    here.prepare(names)
    expected, took = {}, {}
    for name in names:
        begun, out = time.monotonic(), place / f"expected-{names.index(name)}"
        assert here.start(name, out).wait() == 0, here.log(out.name)
        took[name], expected[name] = time.monotonic() - begun, (content(out), logged(out) if name in LOGGED else {})
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        name = names[number % len(names)]
        kind, event = FAULTS[(number // len(names)) % len(FAULTS)]
        out, mark = place / f"out-{number}", place / f"mark-{number}"
        number += 1
        nth = rng.randint(1, 25 if event == "rename" else 8)
        process = here.start(name, out, f"{kind} {event} {nth} {mark}" if event != "moment" else "")
        try:
            process.wait(rng.uniform(0.1, 0.95) * took[name] if event == "moment" else 20 * took[name] + 60)
        except subprocess.TimeoutExpired:
            kill(process)
            mark.touch()
        if kind != "slow" and not mark.exists():  # it had fewer such events
            shutil.rmtree(out, ignore_errors=True)
            continue
        again = here.start(name, out)
        try:
            status = again.wait(20 * took[name] + 60)
        except subprocess.TimeoutExpired:
            kill(again)
            yield name, f"{kind} {event}", "hung"
            continue
        wrong = [f"status {status}"] * bool(status) + ["Traceback"] * ("Traceback" in here.log(out.name))
        if not status:
            wrong += ["other bytes"] * (content(out) != expected[name][0])
            wrong += ["MLflow"] * (name in LOGGED and logged(out) != expected[name][1])
            wrong += [f"left {', '.join(left)}" for left in [left_behind(here, out)] if left]
        yield name, f"{kind} {event}", ", ".join(wrong)
        if not wrong:
            shutil.rmtree(out)


def main() -> None:
    """Run the campaign, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kill, fill, tear, mutate.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=10_000, help="mutated inputs at most")
    parser.add_argument("--commands", default=",".join(COMMANDS).replace("run, ", "run-"), help="which, by commas")
    asked = parser.parse_args()
    names = [name.replace("run-", "run, ") for name in asked.commands.split(",") if name]
    if "run, ray" in names and importlib.util.find_spec("ray") is None:
        names.remove("run, ray")
    rng, folder = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="faults-"))
    disturbed_by, right, wrong = Counter[tuple[str, str]](), Counter[tuple[str, str]](), 0
    if names:
        for name, fault, why in disturbed(folder, names, 1800 * asked.hours, rng):
            disturbed_by[name, fault] += 1
            right[name, fault] += not why
            wrong += bool(why)
            print(f"{name}: {WORDS[fault]}: {why or 'the same bytes'}", flush=True)
    mutated, end = Counter[tuple[str, str]](), time.monotonic() + 1800 * asked.hours
    whole = folder / "whole"
    if asked.mutations and not whole.exists():
        assert Place(folder).start("run, serial", whole).wait() == 0, Place(folder).log("whole")
    for kind, outcome, why in mutations.campaign(folder, whole, asked.mutations, rng):
        mutated[kind, outcome] += 1
        if why:
            wrong += 1
            print(f"{kind}: {outcome}: {why}", flush=True)
        if time.monotonic() > end:
            break
    print("\n| what happened | times | the same bytes afterwards |\n| --- | ---: | ---: |")
    for fault, words in WORDS.items():
        times, same = (sum(n for (_, f), n in found.items() if f == fault) for found in (disturbed_by, right))
        print(f"| {words} | {times} | {same} |")
    print(f"| **all** | {disturbed_by.total()} | {right.total()} |")
    by_command = {name: sum(n for (one, _), n in disturbed_by.items() if one == name) for name in names}
    print(f"\nBy command: {', '.join(f'{name} {times}' for name, times in by_command.items())}.\n")
    print(mutations.table(mutated))
    if wrong:
        print(f"\n{wrong} were wrong; what they left is in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
