"""A cache of the most recently used arrays, bounded in bytes and shared by all folds."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Keeps values up to `room` bytes in all and forgets the least recently used first. Safe between threads."""

    def __init__(self, room: int) -> None:
        """An empty cache; with `room` 0 nothing is ever kept."""
        self.room = room
        self.used = 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        """The value, now the most recently used, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keep `value` of `size` bytes; a value larger than the whole cache is not kept."""
        with self._lock:
            if key in self._kept:
                self.used -= self._kept.pop(key)[1]
            if size > self.room:
                return
            while self.used + size > self.room:
                self.used -= self._kept.popitem(last=False)[1][1]
            self._kept[key] = (value, size)
            self.used += size
