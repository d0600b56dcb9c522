"""What a verification found: what is wrong, what was checked, and what could not be checked."""

from dataclasses import dataclass, field


@dataclass
class Verification:
    """`faults` are reasons to refuse the entry; `checked` counts what is as it should be, by kind; `unchecked` lists
    what could not be checked, and why."""

    faults: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Something is wrong."""
        self.faults.append(text)

    def passed(self, kind: str, times: int = 1) -> None:
        """`times` things of this kind are as they should be."""
        self.checked[kind] = self.checked.get(kind, 0) + times

    def skip(self, text: str) -> None:
        """Something cannot be checked; each reason is listed once."""
        if text not in self.unchecked:
            self.unchecked.append(text)
