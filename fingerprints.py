"""Fingerprints: short hashes of content, so that two results can be known to rest on the same data."""

import hashlib
import json
from collections.abc import Iterable


def fingerprint(records: Iterable[object]) -> str:
    """16 hex digits of the SHA-256 of the records (JSON values) as a set: their order does not matter."""
    lines = sorted(json.dumps(record, sort_keys=True, separators=(",", ":")) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
