"""What the tasks of duplicate removal hand each other: sealed files, found through the receipts of their tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from curate.dedup.config import Plan
from curate.errors import VerificationError
from curate.store.folder import Folder
from curate.store.receipts import Receipt, read_receipt, receipt_name
from curate.store.sections import REMEDY, Sealed, SectionReader
from curate.store.shards import Output, digest_shard
from pipelines.steps.base import Result, Run

#: input bytes per partition of keys and of components, where the config leaves their number open
PARTITION_BYTES = 128 << 20
MOST_PARTITIONS = 1024
_SEALS = "seals"


def partition_names(run: Run, plan: Plan) -> list[str]:
    """Names of the partitions of keys and of components; a power of two, one for a small run."""
    count = plan.partitions
    if count is None:
        wanted = -(-sum(e.size for e in run.manifest.entries) // PARTITION_BYTES)
        count = min(MOST_PARTITIONS, 1 << max(0, wanted - 1).bit_length())
    return [f"{k:04d}" for k in range(count)]


def sealed_result(files: Iterable[Sealed], counts: dict[str, Any], outputs: Iterable[Output] = ()) -> Result:
    """A result whose receipt will carry the seals of its files."""
    found = list(files)
    seals = {f.output.path: f.seal for f in found}
    return Result([*(f.output for f in found), *outputs], {**counts, _SEALS: seals})


def receipt_of(folder: Folder, step: str, partition: str) -> Receipt:
    """The receipt of a finished task; VerificationError if it is not there or damaged."""
    receipt = read_receipt(folder, step, partition)
    if receipt is None:
        name = f"{folder.url}/{receipt_name(step, partition)}"
        raise VerificationError(f"{name} is gone or damaged: run the same command again, its task will be done anew")
    return receipt


def sealed_file(folder: Folder, step: str, partition: str, name: str) -> SectionReader:
    """A sealed file of a finished task, to be opened; VerificationError if its receipt does not name it."""
    receipt = receipt_of(folder, step, partition)
    output = next((o for o in receipt.outputs if o.path == name), None)
    seal = receipt.counts.get(_SEALS, {}).get(name)
    if output is None or seal is None:
        raise VerificationError(
            f"{folder.url}/{receipt_name(step, partition)} does not name {name}: it is of another run or program; "
            + REMEDY
        )
    return SectionReader(folder, name, Sealed(output, seal))


def checked_columns(folder: Folder, step: str, partition: str, name: str, columns: list[str]) -> pa.Table:
    """Columns of a file of another step, after its size, rows and digest were compared with its receipt.

    Raises:
        VerificationError: they differ, or the file or its receipt is not there.
    """
    output = next((o for o in receipt_of(folder, step, partition).outputs if o.path == name), None)
    place = f"{folder.url}/{name}"
    if output is None:
        raise VerificationError(f"the receipt of {step}/{partition} does not name {place}; {REMEDY}")
    try:
        whole = folder.size(name) == output.bytes and digest_shard(folder, name) == (output.rows, output.digest)
        if whole:
            return folder.table(name, columns)
    except FileNotFoundError as error:
        raise VerificationError(f"{place} is gone: run the same command again, it will be made anew") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerificationError(f"{place} cannot be read ({type(error).__name__}): damaged; {REMEDY}") from error
    raise VerificationError(f"{place} is not what its receipt says: damaged or exchanged; {REMEDY}")
