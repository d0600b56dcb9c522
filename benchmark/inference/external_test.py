"""`--test-cohort`: an experiment that is to be tested on an external cohort as soon as it is finished."""

from dataclasses import dataclass

from ...datasets.features.reader import Reader
from ...datasets.labels.read import Labels
from ...datasets.own_cohorts.find import find_cohort
from ...errors import UsageError
from ..baselines.covariates import check_covariates
from ..planning.load import load, load_cohort
from ..planning.request import SIMULATED, Request
from ..planning.resolve import resolve
from ..results.finished import Finished
from .ensemble import Reads, load_ensemble, refuse_disagreement
from .evaluate import Evaluation, evaluate


@dataclass(frozen=True)
class ExternalTest:
    """A request, and the word for the cohort that its models are tested on.

    The cohort is looked for as `bench run` looks: a folder with a cohort.toml, or its labels and features in the data
    folder. A simulated cohort that the models are trained on is tested with its next draw.
    """

    request: Request
    cohort: str

    @property
    def tested(self) -> Request:
        """The request of the cohort that is tested."""
        asked = self.request
        shared = ("backbone", "data", "out", "slides", "endpoint", "missing", "device", "magnification", "patch_px")
        given = {name: getattr(asked, name) for name in (*shared, "unusable_times")}
        features = SIMULATED if asked.features_path == SIMULATED else None
        found = Request(asked.model, self.cohort, features_path=features, **given)
        if not found.simulated:
            return found
        again = asked.simulated and find_cohort(asked.cohort).cohort == find_cohort(self.cohort).cohort
        shape = {"strength": asked.strength, "patients": asked.patients, "dial": asked.dial} if asked.simulated else {}
        draw = asked.cohort_seed + 1 if again else asked.cohort_seed
        return Request(asked.model, self.cohort, features_path=features, cohort_seed=draw, **given, **shape)

    def check(self) -> None:
        """Read both cohorts and compare their features, before anything is trained. Errors: those of `evaluate`."""
        if resolve(self.request).recipe is None:
            raise UsageError(
                f"--test-cohort: {self.request.model} is not trained by epochs and keeps no weights to test"
            )
        if "selected" not in self.request.keeping.weights:
            raise UsageError("--test-cohort needs the weights of the reading selected: add it to --keep-weights")
        experiment, data = load(self.request)
        assert data.bags is not None
        reads = Reads(experiment.backbone, data.dim, experiment.magnifications, data.bags.patch_px())

        def opened(reader: Reader, labels: Labels) -> None:
            refuse_disagreement(reads, experiment.model, reader, sorted(reader.slides))
            check_covariates(labels, experiment.covariates)

        load_cohort(self.tested, experiment.magnifications, opened)

    def is_of(self, finished: Finished) -> bool:
        """Whether this experiment is the one that is to be tested, among those of one command that differ in the seed
        alone."""
        return finished.experiment.seed == self.request.seed

    def evaluate(self, finished: Finished) -> Evaluation:
        """Test the finished experiment. Errors: as `evaluate`; a fold that failed."""
        folder = self.request.out / "experiments" / finished.experiment.id
        model = self.request.model if ":" in self.request.model else None
        return evaluate(load_ensemble(folder, model=model, device=finished.experiment.device), self.tested)
