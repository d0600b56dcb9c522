"""`bench report`: an experiment on one page."""

from . import options as o
from .evaluate import Experiment
from .mistakes import explained
from .output import print_json


def report(experiment: Experiment, as_json: o.AsJson = False) -> None:
    """Write report.html into an experiment's folder: training curves, and risks, risk groups and calibration.

    For every reading, in one file that asks no network.
    """
    with explained():
        from .. import console
        from ..inference.ensemble import experiment_folder
        from ..inference.experiment_page import write_page

        path = write_page(experiment_folder(experiment))
        if as_json:
            print_json({"report": str(path)})
            return
        console.say(f"Report: {path}")
