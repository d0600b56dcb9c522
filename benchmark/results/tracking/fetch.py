"""Read results back out of an MLflow store."""

from pathlib import Path

from .store import NAME, database_of, quiet_mlflow


def fetch(uri: str, out: Path) -> int:
    """Copy the result files of every finished experiment of an MLflow store into `out/experiments`.

    Returns how many folds were copied. Nothing is written to the store. Errors: `ValueError` when it holds none.
    """
    database = database_of(uri)
    if database is not None and not database.is_file():
        raise ValueError("there is no such database")
    quiet_mlflow()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = [
        one
        for one in client.search_experiments(filter_string=f"name LIKE '{NAME}%'")
        if one.name == NAME or one.name.startswith(f"{NAME}/")
    ]
    if not found:
        raise ValueError("it holds no milsurv experiment")
    copied = 0
    token = None
    while True:
        page = client.search_runs([one.experiment_id for one in found], "", max_results=500, page_token=token)
        for run in page:
            identity, fold = run.data.tags.get("milsurv.experiment", ""), run.data.tags.get("milsurv.fold")
            # Names come from a store that others write: none of them may leave the folder.
            if (
                run.data.tags.get("milsurv.kind") == "trial"
                or not identity.isalnum()
                or not (fold is None or fold.isdigit())
            ):
                continue
            target = out / "experiments" / identity / (f"fold-{fold}" if fold else "")
            if run.info.status != "FINISHED" and (target / "result.json").exists():
                continue  # an earlier attempt at a fold that was finished since
            target.mkdir(parents=True, exist_ok=True)
            client.download_artifacts(run.info.run_id, "", str(target))
            copied += fold is not None and run.info.status == "FINISHED"
        token = page.token
        if not token:
            break
    if not copied:
        raise ValueError("it holds no finished fold of a milsurv experiment")
    return copied
