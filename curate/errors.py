"""Every error that curate raises on purpose.

    CurateError
    ├── ConfigError        the config or the call is wrong: nothing has been done yet            exit 2
    ├── ThresholdError     a limit that the config sets on failures or drops was crossed         exit 3
    ├── BudgetError        money, tokens or time are used up                                     exit 4
    ├── VerificationError  sums do not hold, or a stored digest differs                          exit 5
    ├── TaskError          a task failed for good; its neighbours are done                       exit 6
    ├── EnvironmentGone    disk full, no permission, output gone, output held by another run     exit 7
    ├── InputError         one input file cannot be read at all; the others go on
    └── ModelError         a model file is refused: digest, format, structure or self-test       exit 2

What happens to a single document is not an exception: stages record it with ``Batch.drop`` or ``Batch.fail``.
Messages say what was found, where, and what to do; they never quote the text of a document.
"""

from __future__ import annotations


class CurateError(Exception):
    """Base of all errors that curate raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 70


class ConfigError(CurateError):
    """The config or the command is wrong; raised before any work."""

    exit_code = 2


class ModelError(CurateError):
    """A model file is refused before it is loaded."""

    exit_code = 2


class ThresholdError(CurateError):
    """A failure or drop rate crossed the limit that the config sets."""

    exit_code = 3


class BudgetError(CurateError):
    """A budget of money, tokens or time is used up."""

    exit_code = 4


class VerificationError(CurateError):
    """The ledger does not add up, or a file differs from its receipt."""

    exit_code = 5


class TaskError(CurateError):
    """A task failed for good."""

    exit_code = 6


class EnvironmentGone(CurateError):
    """The machine cannot go on: disk full, permission, output folder gone or held by another run."""

    exit_code = 7


class InputError(CurateError):
    """One input file cannot be read at all.

    ``code`` is the ledger's error code, e.g. ``input.vanished`` or ``parquet.footer``.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
