"""What an experiment reads, after checking: patients, folds and their bags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..datasets.bags import Bags
from ..datasets.findings import Finding
from ..datasets.labels.read import Labels
from ..datasets.labels.several_slides import Units
from ..datasets.patient import Patient
from ..datasets.split import Folds


@dataclass(frozen=True)
class CohortData:
    """The cohort of an experiment.

    labels: the patients; folds: the outer folds that remain of them.
    units: what a bag is, a patient or a slide.
    bags: their patches, `dim` wide; None for a baseline that reads no features.
    patches: how many there are, by who is scored, for the baseline that counts them.
    findings: what was noticed in labels, folds and features.
    left_out: patients of the table that are not used, and why.
    """

    labels: Labels
    folds: Folds
    units: Units
    bags: Bags | None = None
    dim: int = 0
    patches: Mapping[str, int] | None = None
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> Mapping[str, str]:
        """The patient of each slide, where slides are scored; else empty."""
        return self.units.owner if self.units.level == "slide" else {}

    def bags_of(self, patients: Sequence[str]) -> list[Patient]:
        """The bags of these patients: themselves, or their slides where slides are bags of their own."""
        by_id = self.units.labels.by_id
        return [by_id[i] for i in self.units.of(patients)]

    def scored(self, patients: Sequence[str]) -> list[Patient]:
        """Who is scored when these patients are: themselves, or their slides where slides are scored."""
        if self.units.level == "slide":
            return self.bags_of(patients)
        by_id = self.labels.by_id
        return [by_id[i] for i in patients]

    def without(self, bags: Sequence[str]) -> "CohortData":
        """The cohort without these bags, and without the patients of whom none is left."""
        gone = set(bags)
        owner = {unit: patient for unit, patient in self.units.owner.items() if unit not in gone}
        left = set(owner.values())

        def keep(ids: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(i for i in ids if i in left)

        units = self.units.labels
        units = replace(units, patients=tuple(patient for patient in units.patients if patient.id not in gone))
        splits = (replace(s, train=keep(s.train), val=keep(s.val), test=keep(s.test)) for s in self.folds.splits)
        return replace(
            self,
            labels=replace(self.labels, patients=tuple(p for p in self.labels.patients if p.id in left)),
            units=replace(self.units, labels=units, owner=owner),
            folds=replace(self.folds, splits=tuple(splits)),
        )
