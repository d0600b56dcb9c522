"""From slides to features: which slides, with which encoder, into which folder; resumable at any point.

OUT/<slide>.h5                  one file a slide, see `datasets/features/store_file.py`; whole or not there
OUT/extraction.json             the settings of all of them
OUT/extract-report.csv          what became of every slide, and why
OUT/previews/<slide>.png        with --preview: what would be read, and preview-report.csv
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...datasets import backbones
from ...datasets.encoders.encoder import Encoder
from ...datasets.encoders.opening import intake_of, open_encoder
from ...datasets.features.geometry import Geometry
from ...datasets.features.store_file import StoreHead, is_ours, opens, read_head, write_slide
from ...datasets.patient import SYNTHETIC_PREFIX
from ...datasets.slides.files import SlideFile, SlideFiles, content_of, find_slides
from ...datasets.slides.grid import POWERS
from ...datasets.slides.mpp import AGREE, BY_USER, BY_USER_HERE, OBJECTIVE
from ...datasets.slides.reader import ReadOptions, SlidePlan, running
from ...errors import DataError, UsageError
from ...files import fingerprint, remove_unfinished, safe_name
from ..results.folder import table, write
from ..training.device import device_of
from .stream import Embedded, Task, embed_slides

EXTRACTION = 2
"""Raised when the same slide and settings would give other features."""

SETTINGS, REPORT, PREVIEWS, PREVIEW_REPORT = "extraction.json", "extract-report", "previews", "preview-report"

OPTIONS = {"least": "--min-tissue", "patch_px": "--patch-px", "nest": "--nest"}
"""Settings that are called otherwise on the command line."""


@dataclass(frozen=True)
class ExtractionOptions:
    """The options of one extraction.

    `mpp` is microns per pixel as the user gives them: one number for slides whose file has none, or one a slide.
    `shard` is (i, n): the i-th of n equal parts, from 1. `workers` and `batch` of 0 are chosen by the machine. With
    `preview` pictures are drawn and nothing is embedded.
    """

    slides: tuple[Path, ...]
    out: Path
    backbone: str = "efficientnet-lite0"
    weights: Path | None = None
    magnifications: tuple[int, ...] = (20, 10, 5)
    patch_px: int = 256
    min_tissue: float = 0.5
    overlap: int = 0
    nest: bool = True
    mpp: float | dict[str, float] | None = None
    workers: int = 0
    device: str = "auto"
    shard: tuple[int, int] = (1, 1)
    batch: int = 0
    preview: bool = False

    def mpp_of(self, slide: str) -> float | None:
        """What the user says of a slide's microns per pixel."""
        return self.mpp.get(slide) if isinstance(self.mpp, dict) else self.mpp

    def suffix(self) -> str:
        """Tells apart the files of several shards."""
        return "" if self.shard == (1, 1) else "-{}-of-{}".format(*self.shard)


@dataclass
class ExtractionReport:
    """What became of every slide: one row each, and the file that holds them."""

    rows: list[dict[str, object]] = field(default_factory=list)
    path: Path = Path()

    def of(self, *status: str) -> list[dict[str, object]]:
        """The rows of a status: written, finished before, no tissue, previewed, failed; part of another file's
        slide.
        """
        return [row for row in self.rows if row["status"] in status]

    @property
    def failed(self) -> dict[str, str]:
        """Reasons by slide, or by file where it has no name."""
        return {str(row["slide"] or row["file"]): str(row["reason"]) for row in self.of("failed")}


def check(options: ExtractionOptions) -> None:
    """Errors: `UsageError` for numbers that make no sense together."""
    if strange := [m for m in options.magnifications if m not in POWERS]:
        raise UsageError(f"--magnifications: expected some of {', '.join(map(str, sorted(POWERS)))}, not {strange}")
    if not 0 <= options.overlap < options.patch_px:
        raise UsageError(f"--overlap {options.overlap}: expected 0 to {options.patch_px - 1} pixels of a tile")
    if not 1 <= options.shard[0] <= options.shard[1]:
        raise UsageError("--shard {}/{}: expected i/n with i from 1 to n".format(*options.shard))


def extract(
    options: ExtractionOptions,
    started: Callable[[int], None] = lambda slides: None,
    on_slide: Callable[[dict[str, object]], None] = lambda row: None,
) -> ExtractionReport:
    """Extract the features of all slides. `started(slides)` and then `on_slide(row)` for every slide say how it goes.

    A slide that cannot be used is in the report with its reason, and stops no other. Slides that were finished
    before, with the same settings and content, are skipped; typed again after an interruption, it ends with the same
    features. Errors: `UsageError`, and `DataError` where the encoder, the folders or the settings of an older
    extraction do not allow it at all.
    """
    check(options)
    reading, device = settings_of(options), device_of(options.device)
    encoder = None if options.preview else open_encoder(options.backbone, options.weights).on(device)
    name = PREVIEW_REPORT if options.preview else REPORT
    report = ExtractionReport(path=options.out / f"{name}{options.suffix()}.csv")
    with running() as reader:
        found = find_slides(options.slides, reader.series)
    mine = found.slides[options.shard[0] - 1 :: options.shard[1]]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with FileLock(options.out / f".extract{options.suffix()}.lock", timeout=0):
            _run(options, reading, encoder, found, mine, report, started, on_slide)
    except Timeout:
        raise DataError(f"{options.out}: another extraction is at work on this folder; wait for it to end.") from None
    return report


def settings_of(options: ExtractionOptions) -> ReadOptions:
    """What readers are asked for: the user's grid, and the encoder's input."""
    intake = intake_of(options.backbone)
    # On a CPU the layers of a few tiles stay in its cache, and below 32 MB, from where on the C library gives memory
    # back to the system and fetches it again for every layer. A GPU wants many.
    batch = options.batch or (4 if device_of(options.device) == "cpu" else 64)
    scales = tuple(sorted(set(options.magnifications), reverse=True))
    return ReadOptions(
        scales, options.patch_px, options.overlap, options.min_tissue, options.nest,
        intake.resize, intake.crop, intake.filter, batch,
    )  # fmt: skip


def _run(
    options: ExtractionOptions,
    reading: ReadOptions,
    encoder: Encoder | None,
    found: SlideFiles,
    mine: tuple[SlideFile, ...],
    report: ExtractionReport,
    started: Callable[[int], None],
    on_slide: Callable[[dict[str, object]], None],
) -> None:
    lock = threading.Lock()

    def keep(row: dict[str, object]) -> None:
        with lock:
            report.rows.append(row)
            on_slide(row)

    def bad(task: Task, why: str) -> None:
        if encoder is not None and (options.out / f"{safe_name(task.file.slide)}.h5").exists():
            why += " Features that were made of it before are still in the folder."
        keep(_row(task.file, "failed", why))

    started(len(mine))
    if options.shard[0] == 1:
        for path, why in found.refused.items():
            keep(_row(SlideFile("", path), "failed", why))
        for path, whole in found.parts.items():
            keep(_row(SlideFile("", path), "part", f"belongs to the DICOM series of {whole.name}"))
    settings = {} if encoder is None else _settings(options, reading, encoder)
    if encoder is not None:
        _claim(options.out, settings, encoder)
        remove_unfinished(options.out)
    previews = options.out / PREVIEWS
    if options.preview:
        previews.mkdir(exist_ok=True)
    parts: dict[Path, list[Path]] = {}
    for path, whole in found.parts.items():
        parts.setdefault(whole, []).append(path)
    for_this_slide = isinstance(options.mpp, dict)
    tasks = [
        Task(
            file,
            options.mpp_of(file.slide),
            for_this_slide,
            previews / f"{safe_name(file.slide)}.png" if options.preview else None,
        )
        for file in mine
    ]
    sources: dict[str, str] = {}

    def needed(task: Task) -> bool:
        """Whether a slide is still to be read; what was finished before is reported as it was then."""
        if encoder is None:
            return True
        slide = task.file.slide
        sources[slide] = fingerprint([settings, content_of(task.file.path, parts.get(task.file.path, ()))])
        head = _finished(options.out, slide, sources[slide])
        if head is None or not _same_mpp(head.extraction, task):
            return True
        plan = _plan_of(head)
        keep(_row(task.file, "finished before" if any(plan.tiles.values()) else "no tissue", plan=plan))
        return False

    def done(slide: Embedded) -> None:
        if encoder is not None:
            _write(options, reading, encoder, slide, sources[slide.file.slide])
        status = "no tissue" if not any(slide.plan.tiles.values()) else "previewed" if options.preview else "written"
        keep(_row(slide.file, status, plan=slide.plan, seconds=slide.seconds))

    readers, networks = _threads(options, encoder)
    try:
        embed_slides(tasks, reading, encoder, min(readers, max(1, len(tasks))), networks, needed, done, bad)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise UsageError(f"the GPU's memory ran out: use a --batch below {reading.batch}") from error
    finally:
        report.rows.sort(key=lambda row: (str(row["slide"]), str(row["file"])))
        if report.rows:
            write(report.path, table([{**row, "remarks": "; ".join(_words(row["remarks"]))} for row in report.rows]))


def _threads(options: ExtractionOptions, encoder: Encoder | None) -> tuple[int, int]:
    """Readers and network threads. Readers wait most of the time beside a CPU's network: two, so that one opens the
    next slide while the other one's tiles are embedded. Two threads on a GPU: one fetches results while the other's
    batch runs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if encoder is None:
        return options.workers or cores, 0
    if encoder.device != "cpu":
        return options.workers or cores, 2
    import torch

    return options.workers or max(2, cores // 4), torch.get_num_threads()


def _write(options: ExtractionOptions, reading: ReadOptions, encoder: Encoder, slide: Embedded, source: str) -> None:
    plan = slide.plan
    geometry = {
        m: Geometry(
            patch_px=reading.patch_px,
            level0_px=side,
            overlap_px=reading.overlap,
            claimed=m,
            # The label of a slide that was not cut by it would only mislead.
            level0_magnification=plan.power if plan.power and side * m == reading.patch_px * plan.power else None,
            mpp=plan.mpp,
            width=plan.size[0],
            height=plan.size[1],
        )
        for m, side in plan.side.items()
    }
    write_slide(
        options.out, slide.file.slide, slide.features, slide.coords, backbone=encoder.backbone.name,
        patch_px=reading.patch_px, mpp=plan.mpp, geometry=geometry, source=source,
        synthetic=slide.file.slide.startswith(SYNTHETIC_PREFIX), extraction=asdict(plan),
    )  # fmt: skip


def _plan_of(head: StoreHead) -> SlidePlan:
    """The plan of a slide when it was extracted."""
    content = dict(head.extraction)
    for key in ("side", "full", "tissue", "tiles"):
        content[key] = {int(m): n for m, n in content[key].items()}  # type: ignore[attr-defined]
    return SlidePlan(**content)  # type: ignore[arg-type]


def _same_mpp(extraction: Mapping[str, Any], task: Task) -> bool:
    """Whether a slide would be read at the resolution it was read at, from what the user says of it now."""
    source, mpp, user_mpp = extraction["mpp_source"], extraction["mpp"], task.user_mpp
    by_user = extraction["mpp_by_user"]
    if user_mpp is None:
        return not by_user
    if source == BY_USER_HERE:
        return task.for_this_slide and mpp == user_mpp
    if source in (BY_USER, OBJECTIVE):
        return source == BY_USER and mpp == user_mpp
    return max(mpp / user_mpp, user_mpp / mpp) <= 1 + AGREE or not (by_user or task.for_this_slide)


def _settings(options: ExtractionOptions, reading: ReadOptions, encoder: Encoder) -> dict[str, object]:
    """Everything that decides about features beside the slides themselves; how many work on it does not."""
    chosen = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(reading).items() if k != "batch"}
    return {"version": EXTRACTION, "backbone": encoder.backbone.name, "weights": encoder.weights, **chosen}


def _claim(out: Path, settings: dict[str, object], encoder: Encoder) -> None:
    """Refuse a folder that holds other features; otherwise say there what its features are."""
    path = out / SETTINGS
    if path.exists():
        try:
            older = json.loads(path.read_text(encoding="utf-8"))
            changed = [
                f"{OPTIONS.get(k, k)} {older.get(k)} instead of {v}" for k, v in settings.items() if older.get(k) != v
            ]
        except (ValueError, AttributeError):
            changed = [f"{path.name} cannot be read"]
        if changed:
            raise DataError(f"{out} holds features of other settings ({'; '.join(changed)}): choose another --out.")
        return
    for path_of_slide in sorted(out.glob("*.h5")):
        if not is_ours(path_of_slide):
            raise DataError(f"{out} holds {path_of_slide.name}, which milsurv did not write: choose another --out.")
        raise DataError(f"{out} holds features that were not extracted here: choose another --out.")
    write(path, json.dumps(settings, indent=2) + "\n")


def _finished(out: Path, slide: str, source: str) -> StoreHead | None:
    """The head of a slide's file, if it is whole and of this very slide and settings; None otherwise."""
    path = out / f"{safe_name(slide)}.h5"
    with suppress(DataError):
        if path.is_file() and (head := read_head(path)).source == source and opens(path):
            return head
    return None


def _row(
    file: SlideFile,
    status: str,
    reason: str = "",
    plan: SlidePlan | None = None,
    seconds: float | None = None,
) -> dict[str, object]:
    """A line of the report. Tiles are those read; `full` those in the slide, `tissue` those of them with enough
    tissue.
    """
    row: dict[str, object] = {"slide": file.slide, "file": printable(str(file.path)), "status": status}
    row |= {"reason": printable(reason)}
    row |= {"mpp": plan.mpp if plan else None, "mpp_source": plan.mpp_source if plan else None}
    row |= {"remarks": list(plan.remarks) if plan else []}
    for m, n in (plan.tiles if plan else {}).items():
        row |= {f"tiles_{m}x": n, f"full_{m}x": plan.full[m], f"tissue_{m}x": plan.tissue[m]}  # type: ignore[union-attr]
    return row | {"seconds": None if seconds is None else round(seconds, 1)}


def printable(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file's name that are no letters are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def backbone_folder(data: Path, cohort: str, backbone: str) -> Path:
    """Where `bench run --data` looks for features of a cohort."""
    return data / cohort / "features" / backbones.get(backbone).name
