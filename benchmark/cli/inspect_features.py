"""What is in a folder of features: layout, encoder, scales, sizes, nesting, and how much of a cohort is there."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from ...datasets.features.coverage import survey
from ...datasets.features.geometry import Facts
from ...datasets.features.nesting import check_nesting
from ...datasets.features.opening import open_all, open_features
from ...datasets.features.reader import Reader
from ...datasets.findings import Finding, finding
from ...datasets.labels.read import Labels
from ...datasets.slide_names import match_names
from ...datasets.slides.slide import SUFFIXES
from ...errors import DataError

Progress = Callable[[int, int], None]


def readers(path: Path, backbone: str | None, **user_facts: object) -> list[Reader]:
    """The readers of a folder: of one backbone if it is named, else of all. `user_facts` as for `open_features`."""
    if backbone is not None:
        return [open_features(path, backbone, **user_facts)]  # type: ignore[arg-type]
    return open_all(path, **user_facts)  # type: ignore[arg-type]


def inspect(
    reader: Reader,
    labels: Labels | None = None,
    mpp: dict[str, float] | None = None,
    progress: Progress | None = None,
    numbers: bool = False,
) -> dict[str, object]:
    """Everything about one set of features as a JSON value; `progress(done, total)` is called once a slide.

    With `numbers`, all of them are read, not headers and coordinates alone. `labels` adds how much of that cohort is
    covered, `mpp` gives microns per pixel of slides whose files do not.
    """
    facts, unreadable = _facts(reader)
    nesting = check_nesting(reader, mpp=mpp, progress=progress)
    complete = {s for s, of in facts.items() if all(m in of and of[m].patches for m in reader.magnifications)}
    empty = sorted(s for s, of in facts.items() if not any(f.patches for f in of.values()))
    findings: list[Finding] = [*reader.findings, *nesting.findings, *_width_findings(reader, facts), *_mixed(reader)]
    if numbers:
        findings += _numbers(reader, progress)
    if empty:
        findings.append(finding("slides_without_tissue", "info", "slides have no patches at all", empty))
    short = [
        f"{s} ({', '.join(f'{m}x' for m in reader.magnifications if not (m in of and of[m].patches))})"
        for s, of in facts.items()
        if s not in complete and s not in empty
    ]
    if short:
        findings.append(finding("slides_without_scale", "warning", "slides lack a magnification", short))
    flat = [f for of in facts.values() for f in of.values()]
    report: dict[str, object] = {
        "folder": reader.folder,
        "layout": reader.layout,
        "backbone": reader.backbone,
        "dim": reader.dim,
        "synthetic": reader.synthetic,
        "magnifications": list(reader.magnifications),
        "slides": len(reader.slides),
        "slides_with_all_scales": len(complete),
        "slides_without_tissue": len(empty),
        "unreadable": unreadable,
        "dtypes": _counted(f.dtype for f in flat),
        "bytes": sum(f.nbytes for f in flat),
        "bytes_as_float16": sum(f.patches * (2 * f.dim + 8 * f.located) for f in flat),
        "scales": [_scale(m, [of[m] for of in facts.values() if m in of]) for m in reader.magnifications],
        "mpp": _counted(f.geometry.mpp for of in facts.values() for f in list(of.values())[:1]),
        "level0_magnifications": _counted(
            f.geometry.level0_magnification for of in facts.values() for f in list(of.values())[:1]
        ),
        "nesting": {
            "pairs": [asdict(pair) for pair in nesting.pairs],
            "slides_without_coordinates": nesting.unchecked,
        },
        "coverage": None if labels is None else _coverage(reader, labels, complete, findings),
    }
    report["findings"] = [asdict(f) for f in findings]
    return report


def read_mpp(path: Path) -> dict[str, float]:
    """Microns per pixel by slide from a csv with columns `slide` (or `wsi`) and `mpp`. DataError names bad lines."""
    found: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            name = next((c for c in ("slide", "slide_id", "wsi") if c in (table.fieldnames or ())), None)
            if name is None or "mpp" not in (table.fieldnames or ()):
                raise DataError(f"{path} needs the columns slide and mpp, it has {', '.join(table.fieldnames or ())}.")
            for row in table:
                try:
                    value = float(row["mpp"])
                except (TypeError, ValueError):
                    value = float("nan")
                if not 0.01 < value < 100:
                    raise DataError(f"{path}, line {table.line_num}: mpp {row['mpp']!r} is no size of a pixel in um.")
                file = Path(row[name] or "")
                found[file.stem if file.suffix.lower() in SUFFIXES else file.name] = value
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a csv table ({error}).") from error
    return found


def _facts(reader: Reader) -> tuple[dict[str, dict[int, Facts]], dict[str, str]]:
    facts: dict[str, dict[int, Facts]] = {}
    unreadable: dict[str, str] = {}
    for slide in sorted(reader.slides):
        try:
            facts[slide] = reader.facts(slide)
        except DataError as error:
            unreadable[slide] = str(error)
    return facts, unreadable


def _scale(m: int, facts: list[Facts]) -> dict[str, object]:
    counts = [f.patches for f in facts if f.patches]
    return {
        "magnification": m,
        "slides": len(facts),
        "empty": len(facts) - len(counts),
        "patches": {
            "min": min(counts, default=0),
            "median": median(counts) if counts else 0,
            "max": max(counts, default=0),
            "total": sum(counts),
        },
        "widths": _counted(f.dim for f in facts if f.patches),
        "with_coordinates": sum(f.located for f in facts),
        "patch_px": _counted(f.geometry.patch_px for f in facts),
        "level0_px": _counted(f.geometry.side(m) for f in facts),
        "claimed": _counted(f.geometry.claimed for f in facts),
    }


def _counted(values: Iterable[object]) -> dict[str, int]:
    """How often each value occurs, as JSON keys; what is unknown is not counted."""
    texts = (f"{v:.10g}" if isinstance(v, float) else str(v) for v in values if v)
    return dict(sorted(Counter(texts).items()))


def _width_findings(reader: Reader, facts: dict[str, dict[int, Facts]]) -> list[Finding]:
    odd = [
        f"{s} ({m}x is {f.dim})" for s, of in facts.items() for m, f in of.items() if f.patches and f.dim != reader.dim
    ]
    message = f"slides are not {reader.dim} wide like the first: they are of another encoder"
    return [finding("width_mismatch", "error", message, odd)] if odd else []


def _mixed(reader: Reader) -> list[Finding]:
    """Encoders, magnifications and patch sizes that files name, where they differ from each other or from the
    folder.
    """
    seen = survey(reader, reader.slides, reader.magnifications)
    found = []
    if len(seen.encoders) > 1:
        common = max(seen.encoders, key=lambda name: len(seen.encoders[name]))
        odd = [f"{s} of {name}" for name, slides in seen.encoders.items() if name != common for s in slides]
        message = f"slides are of another encoder than {common}, by their own account"
        found.append(finding("encoder_mismatch", "error", message, odd))
    elif seen.misnamed:
        message = "slides are of another encoder than the folder's name says, by their own account"
        found.append(finding("encoder_mismatch", "error", message, seen.misnamed))
    if seen.other_scale:
        message = "slides are of another magnification by their own account"
        found.append(finding("magnification_mismatch", "error", message, seen.other_scale))
    for text, odd in seen.uneven():
        found.append(finding("patch_size_mismatch", "error", f"{text}, by their own account", odd))
    return found


def _numbers(reader: Reader, progress: Progress | None) -> list[Finding]:
    """Slides with numbers that cannot be used, found by reading all of them."""
    bad = []
    for done, slide in enumerate(sorted(reader.slides), 1):
        try:
            for m in reader.counts(slide):
                reader.read(slide, m)
        except DataError as error:
            bad.append(str(error))
        if progress is not None:
            progress(done, len(reader.slides))
    message = "slides hold numbers that cannot be used (NaN, infinite, damaged)"
    return [finding("features_damaged", "error", message, bad)] if bad else []


def _coverage(reader: Reader, labels: Labels, complete: set[str], findings: list[Finding]) -> dict[str, object]:
    matched = match_names((slide for patient in labels.patients for slide in patient.slides), reader.slides)
    names = {slide: matched.names.get(slide, slide) for p in labels.patients for slide in p.slides}
    findings += matched.findings()
    missing = sorted(slide for slide, name in names.items() if name not in reader.slides)
    without = [p.id for p in labels.patients if not any(names[s] in reader.slides for s in p.slides)]
    usable = [p.id for p in labels.patients if any(names[s] in complete for s in p.slides)]
    if missing:
        findings.append(finding("slides_without_features", "warning", "slides have no feature file", missing))
    if without:
        findings.append(finding("patients_without_features", "warning", "patients have no feature file", without))
    if extra := reader.slides - set(names.values()):
        message = "slides with features belong to no patient of the labels"
        findings.append(finding("features_without_label", "info", message, extra))
    return {
        "cohort": labels.cohort,
        "patients": len(labels.patients),
        "patients_with_features": len(labels.patients) - len(without),
        "patients_with_all_scales": len(usable),
        "slides": len(names),
        "slides_with_features": len(names) - len(missing),
        "slides_with_all_scales": sum(name in complete for name in names.values()),
        "events_with_features": sum(p.event for p in labels.patients if p.id not in set(without)),
        "events": sum(p.event for p in labels.patients),
    }


def errors(report: dict) -> bool:
    """Whether a report holds anything that makes the features unusable as they are."""
    return bool(report["unreadable"]) or any(f["severity"] == "error" for f in report["findings"])


def show(report: dict) -> None:
    """A report for people: tables on standard output, findings on standard error."""
    from .. import console

    size = f"{size_of(report['bytes'])}, {size_of(report['bytes_as_float16'])} as float16"
    title = (
        f"{report['backbone']}, {report['dim']} wide, {report['layout']} layout, {report['slides']} slides "
        f"({report['slides_with_all_scales']} with all scales), {size}"
    )
    rows = [
        {
            "scale": f"{scale['magnification']}x",
            "slides": scale["slides"],
            "without patches": scale["empty"],
            "patches min": scale["patches"]["min"],
            "median": f"{scale['patches']['median']:g}",
            "max": scale["patches"]["max"],
            "total": scale["patches"]["total"],
            "with coordinates": scale["with_coordinates"],
            "patch px": _listed(scale["patch_px"]),
            "level-0 px": _listed(scale["level0_px"]),
            "numbers": _listed(report["dtypes"]),
        }
        for scale in report["scales"]
    ]
    console.listing(title, rows)
    about = {"um per pixel": _listed(report["mpp"]), "objective power": _listed(report["level0_magnifications"])}
    if any(value != "unknown" for value in about.values()):
        console.listing("Slides", [about])
    pairs = [
        {
            "scales": f"{p['fine']}x in {p['coarse']}x",
            "slides": p["slides"],
            "finer patches in no coarser one": f"{p['unmatched']} of {p['finer']}",
            "coarser patches without finer ones": f"{p['without_tiles']} of {p['coarser']}",
        }
        for p in report["nesting"]["pairs"]
    ]
    if pairs:
        console.listing("Nesting", pairs)
    if report["coverage"]:
        console.listing("Coverage", _covered(report["coverage"]))
    for why in report["unreadable"].values():
        console.fail(why)
    known = (f for f in report["findings"] if f["code"] != "unreadable_slides")
    console.findings(Finding(**{**f, "examples": tuple(f["examples"])}) for f in known)


def _covered(found: dict[str, int]) -> list[dict[str, object]]:
    """How much of a cohort is covered, a row each for patients, deaths and slides."""
    return [
        {
            f"of {found['cohort']}": word,
            "in the labels": found[key],
            "with features": found[f"{key}_with_features"],
            "with all scales": found.get(f"{key}_with_all_scales", "\N{EN DASH}"),
        }
        for word, key in (("patients", "patients"), ("deaths", "events"), ("slides", "slides"))
    ]


def size_of(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _listed(counts: dict[str, int]) -> str:
    if not counts:
        return "unknown"
    if len(counts) == 1:
        return next(iter(counts))
    shown = sorted(counts.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{value} ({n})" for value, n in shown) + (", …" if len(counts) > 4 else "")
