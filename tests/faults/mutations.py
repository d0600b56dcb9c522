"""Inputs of every kind with bytes changed, read in a child: refused, or read as the truth; never anything else."""

import csv
import json
import random
import select
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 60.0
"""Seconds after which a reader hangs."""
PIECES = [
    b"\0",
    b"nan",
    b"inf",
    b"-",
    b",",
    b";",
    b"\n",
    b"1e999",
    b"_",
    b'"',
    b"{",
    b"}",
    b"\xff\xfe",
    b"=1",
    b"0",
    b"9",
]


def write_inputs(folder: Path, results: Path) -> dict[str, Path]:
    """One sound input of every kind; `results` is a folder that `bench run` filled."""
    from milsurv.benchmark.verify.submit import submit
    from milsurv.leaderboards.cache.store import Cache

    (home,) = (results / "experiments").iterdir()
    found = {
        kind: folder / kind for kind in ("labels", "packed labels", "folds", "entry", "results", "features", "cache")
    }
    ids = [f"P-{i:02}" for i in range(12)]
    rows = [["case_id", "slide_id", "survival_months", "censorship"]]
    rows += [[i, f"S-{i}", f"{3.5 + 7 * n:.2f}", str(n % 2)] for n, i in enumerate(ids)]
    for kind in ("labels", "folds", "packed labels"):
        found[kind].mkdir(parents=True)
    _save(found["labels"] / "labels.csv", rows)
    with zipfile.ZipFile(found["packed labels"] / "labels.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(found["labels"] / "labels.csv", "labels.csv")
    for fold in (0, 1):
        test, train = ([i for n, i in enumerate(ids) if n // 2 % 2 == side] for side in (fold, 1 - fold))
        _save(found["folds"] / f"splits_{fold}.csv", [["train", "test"], *map(list, zip(train, test, strict=True))])
    head = {"title": "a", "who": "b", "when": "2026-01-05", "milsurv": "0", "licence": "", "notes": ""}
    submit([results], found["entry"], head)
    shutil.copytree(home, found["results"])
    (store,) = results.glob("synthetic/*/features/*")
    found["features"].mkdir()
    for path in sorted(store.iterdir())[:2]:
        shutil.copy(path, found["features"])
    Cache(found["cache"]).get(list[float], "numbers", lambda: "inputs", lambda: [0.1 * i for i in range(50)])
    return found


def _save(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(7):
            case 0 if changed:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at : at + 1] = rng.choice(PIECES)
            case 3:
                changed[at:at] = rng.choice(PIECES)
            case 4:
                end = at + rng.randrange(1, 200)
                changed[at:end] = bytes(len(changed[at:end]))
            case 5:
                lines = bytes(changed).splitlines(keepends=True)
                if lines:
                    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                    changed = bytearray(b"".join(lines))
            case _:
                del changed[at : at + rng.randrange(1, 20)]
    return bytes(changed)


class Reader:
    """A child that reads; another takes its place when it hangs or dies."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None

    def ask(self, kind: str, mutated: Path, whole: Path) -> tuple[str, str]:
        """What became of a mutated input."""
        if self._child is None:
            program = Path(__file__).with_name("reader.py")
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(
                [sys.executable, str(program)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
            )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps([kind, str(mutated), str(whole)]) + "\n")
        self._child.stdin.flush()
        answered, _, _ = select.select([self._child.stdout], [], [], PATIENCE)
        line = self._child.stdout.readline() if answered else ""
        if line:
            outcome, why = json.loads(line)
            return outcome, why
        self.close()
        return ("traceback", "the reader died") if answered else ("hang", f"no answer in {PATIENCE:.0f} s")

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def campaign(folder: Path, results: Path, count: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """So many mutated inputs: the kind, what became of it (see reader.py), and why where that is wrong."""
    inputs, reader = write_inputs(folder / "inputs", results), Reader()
    place = folder / "mutated"
    for number in range(count):
        kind = list(inputs)[number % len(inputs)]
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(inputs[kind], place)
        path = rng.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        path.write_bytes(mutate(path.read_bytes(), rng))
        outcome, why = reader.ask(kind, place, inputs[kind])
        if outcome not in ("refused", "same"):
            kept = folder / f"{outcome}-{number}"
            shutil.copytree(place, kept)
            why = f"{kept} ({path.name}): {why}"
        yield kind, outcome, why
    reader.close()


def table(found: Counter[tuple[str, str]]) -> str:
    """The figures as docs/reliability.md holds them."""
    lines = ["| input | mutated | refused | read as the truth | tracebacks | hangs | silent changes |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    kinds = [*sorted({kind for kind, _ in found}), "**all**"]
    for kind in kinds:
        mine = Counter[str]()
        for (one, outcome), number in found.items():
            mine[outcome] += number if kind in (one, "**all**") else 0
        numbers = (mine.total(), *(mine[outcome] for outcome in ("refused", "same", "traceback", "hang", "changed")))
        lines.append(f"| {kind} | {' | '.join(f'{number:,}' for number in numbers)} |")
    return "\n".join(lines)
