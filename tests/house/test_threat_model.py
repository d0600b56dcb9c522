"""docs/threat-model.md: every sentence names a test, and the test exists."""

import ast
import re

from checkout import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTS = {
    node.name
    for path in (ROOT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}


def test_every_sentence_of_the_threat_model_is_held_by_a_test_that_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 25
    assert not named - TESTS
    for row in re.findall(r"^\| .+\|$", PAGE, re.M):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 2 and cells[1] not in ("held by", "---"):
            assert re.fullmatch(r"`test_\w+`", cells[1]), row


def test_no_pickle_is_loaded_but_by_weights_only():
    """The only unpickling is that of processes of ours, which speak through a pipe."""
    for room in ("benchmark", "datasets", "leaderboards", "models", "survival"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                where = f"{path.relative_to(ROOT)} line {node.lineno}"
                assert called not in ("pickle.load", "pickle.loads", "joblib.load", "eval", "exec"), where
                given = {one.arg: ast.unparse(one.value) for one in node.keywords}
                if called == "torch.load":
                    assert given.get("weights_only") == "True", where
                if called in ("np.load", "numpy.load"):
                    assert given.get("allow_pickle", "False") == "False", where
