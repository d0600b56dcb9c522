"""Fingerprints tell contents apart, and nothing but contents: not their order, and not how they were spelled."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.folds.stratified import fingerprint_of
from milsurv.datasets.split import Split
from milsurv.files import fingerprint

RECORDS = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none(), max_size=4))


@given(RECORDS, st.randoms(use_true_random=False))
def test_neither_the_order_of_records_nor_that_of_their_keys_matters(records, order):
    mixed = [dict(order.sample(list(record.items()), len(record))) for record in records]
    order.shuffle(mixed)
    assert fingerprint(mixed) == fingerprint(records)


@given(RECORDS, st.text(), st.integers())
def test_a_record_more_or_another_value_is_another_fingerprint(records, key, value):
    one = fingerprint([*records, {key: value}])
    assert (
        len({one, fingerprint([*records, {key: value}, {key: value}]), fingerprint([*records, {key: value + 1}])}) == 3
    )


def test_a_fingerprint_is_the_same_on_every_machine():
    assert fingerprint([{"b": 1.5, "a": "ä"}, ["x", 2]]) == "d327840e1e7cb53c"


FOLDS = (Split(0, ("a", "b", "c"), ("d",), ("e",)), Split(1, ("a", "e"), ("b",), ("c", "d")))


def test_folds_are_known_by_who_is_in_which_part_in_whatever_order():
    mixed = [replace(one, train=one.train[::-1], test=one.test[::-1]) for one in reversed(FOLDS)]
    assert fingerprint_of(mixed) == fingerprint_of(FOLDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"train": ("a", "b")},
        {"train": ("a", "b", "c", "f")},
        {"val": ()},
        {"train": ("a", "b", "c", "d"), "val": ()},
        {"test": ("e", "f")},
        {"train": ("a", "b", "e"), "test": ("c",)},
        {"fold": 2},
    ],
)
def test_folds_in_which_one_part_differs_are_other_folds(changes):
    assert fingerprint_of([replace(FOLDS[0], **changes), FOLDS[1]]) != fingerprint_of(FOLDS)
