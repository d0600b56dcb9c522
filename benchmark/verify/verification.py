"""What a verification found: what is wrong, what was held against what, and what could not be checked."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """`faults` are reasons to refuse the entry; `checked` counts what was held, by kind; `unchecked` says what was not,
    and why."""

    faults: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Something is wrong."""
        self.faults.append(text)

    def held(self, kind: str, times: int = 1) -> None:
        """`times` things of this kind are as they should be."""
        self.checked[kind] = self.checked.get(kind, 0) + times

    def skip(self, text: str) -> None:
        """Something cannot be checked; each reason is told once."""
        if text not in self.unchecked:
            self.unchecked.append(text)
