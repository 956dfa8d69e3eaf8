"""What earlier configs and inputs left in a run's folder and the present ones no longer ask for.

A step taken out of the config, or an input file that is gone, would else stay in ``corpus/``, in ``dropped/``, and
in the sums.
"""

from __future__ import annotations

from collections import Counter

from curate.store.folder import Folder
from curate.store.receipts import Receipt, read_receipts, receipt_name
from pipelines.steps.base import Step


def leftovers(folder: Folder, steps: list[Step]) -> list[Receipt]:
    """Receipts of tasks that are not among those of ``steps``."""
    wanted = {(s.name, p) for s in steps for p in s.partitions()}
    found = [r for name in folder.folders("receipts") for r in read_receipts(folder, name)]
    return [r for r in found if (r.step, r.partition) not in wanted]


def retire(folder: Folder, steps: list[Step]) -> list[str]:
    """Remove what the leftovers made, their receipts last, so that an interruption is made good by the next run.

    Returns:
        one line per step: its name and how many of its tasks were removed.
    """
    gone = leftovers(folder, steps)
    if not gone:
        return []
    needed = {o.path for s in steps for r in read_receipts(folder, s.name) if r not in gone for o in r.outputs}
    for receipt in gone:
        for output in receipt.outputs:
            if output.path not in needed:
                folder.remove(output.path)
        folder.remove(receipt_name(receipt.step, receipt.partition))
    return described(gone)


def described(receipts: list[Receipt]) -> list[str]:
    """One line per step of the receipts."""
    counts = Counter(r.step for r in receipts)
    return [f"{step}: {n} tasks that neither the config nor the inputs ask for any more" for step, n in counts.items()]
