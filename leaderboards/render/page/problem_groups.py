"""What was left out of the page, said once where many files have the same fault."""

from collections.abc import Iterable

from ...rows import Problem


def problem_groups(problems: Iterable[Problem]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Messages, each with the places it is about, in the order they came."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.message, []).append(problem.where)
    return tuple((message, tuple(places)) for message, places in found.items())
