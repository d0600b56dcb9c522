"""DataTables, which sorts, searches and pages the tables: from the itables package, set into the page as it is."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path


@lru_cache(maxsize=1)
def datatables() -> str:
    """The script of DataTables with its licences, ready to stand in a page before our own; it defines `DataTable`.

    The bundle is a module, and a module inside a page cannot be imported by another: its last statement, the export,
    becomes a name in the same script. Raises ImportError where itables is missing or holds another kind of bundle.
    """
    spec = find_spec("itables")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the page needs the itables package; install milsurv with its dependencies")
    script = (Path(spec.submodule_search_locations[0]) / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    found = re.search(r"export\s*\{([^}]*)\};?", script)
    named = re.search(r"([\w$]+) as default", found[1]) if found else None
    if found is None or named is None or "</script" in script.lower():
        raise ImportError("this version of itables holds a bundle that the page cannot use; install the tested one")
    return f"{script[: found.start()]}const DataTable={named[1]};{script[found.end() :]}"
