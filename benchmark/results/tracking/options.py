"""What is asked of MLflow. Kept apart from the store, which takes a tenth of a second to import."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tracking:
    """What is recorded, and where.

    address
        Of the MLflow store; None for the one in the output folder, `none` for no record.
    register
        Registers the trained model of every fold as a version of the registered model of this name.
    system_metrics
        Whether the use of processor, memory, disk, network and GPU is recorded too.
    """

    address: str | None = None
    register: str | None = None
    system_metrics: bool = False
