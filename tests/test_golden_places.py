"""Models that know where patches lie give the numbers that the public codes gave, with their weights."""

import pytest
from golden_zoo import check_bags, model_of, needs_spec, parameters_of, zoo

pytestmark = needs_spec


@pytest.mark.parametrize("case", ["deepgraphsurv"])
def test_public_weights_give_the_public_numbers(case: str) -> None:
    model = model_of(case)
    assert parameters_of(model) == zoo()["cases"][case]["n_parameters"]
    check_bags(case, model, places=True)
