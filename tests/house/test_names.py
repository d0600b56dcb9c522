"""Names that users mistype, and that the nearest match is looked for in one place."""

import pytest
from milsurv.errors import UsageError
from milsurv.names import check_choice, closest

SETTINGS = ("accumulate", "batch_size", "dropout", "epochs", "learning_rate", "loss", "weight_decay")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "learning_rate"), ("LR", "learning_rate"), ("wd", "weight_decay"), ("num-epochs", "epochs"),
        ("learning-rate", "learning_rate"), ("epoch", "epochs"), ("droput", "dropout"), ("zzz", None),
    ],
)  # fmt: skip
def test_the_nearest_name_is_the_one_that_was_meant(typed, meant):
    assert closest(typed, SETTINGS) == meant


def test_an_alias_is_offered_only_where_the_name_exists():
    assert closest("lr", ("alpha", "beta")) is None


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(UsageError, match=r"unknown setting 'lr'\. Did you mean learning_rate\? Known: accumulate, .*"):
        check_choice("setting", "lr", SETTINGS)
    with pytest.raises(KeyError):
        check_choice("setting", "lr", SETTINGS, KeyError)  # pyright: ignore[reportArgumentType]
    check_choice("setting", "loss", SETTINGS)
