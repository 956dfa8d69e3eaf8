"""Native code over hostile bytes, in a child process that may die: one bad item costs one item.

    guard = Guard("module:Factory", {"option": 1}, cpu_seconds=10, memory_mb=2048)
    results, failures = guard.map(batch)

The child is started once and kept; batches travel as Arrow IPC over pipes, never pickled. CPU time per item is limited
by the kernel (ITIMER_PROF with its default action), so that a loop in native code ends as surely as one in Python, and
a slow machine changes nothing. An item in whose turn the child dies is tried once more alone in a fresh child, then
given up; its neighbours' results are kept.
"""

from curate.guard.frames import ItemError
from curate.guard.parent import ERRORS, Guard, ItemFailure

__all__ = ["ERRORS", "Guard", "ItemError", "ItemFailure"]
