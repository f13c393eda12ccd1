"""How a coordinator is started."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class DataDirectoryBusy(HundredfoldError):
    """{data_dir} is in use by {holder}. Stop that one with `hundredfold stop`, or choose another `--data-dir`."""

    data_dir: str
    holder: str
    code = "FAILED_PRECONDITION"
    reason = "DATA_DIRECTORY_BUSY"


@dataclass(eq=False)
class InvalidSetting(HundredfoldError):
    """Setting `{setting}` {problem}."""

    setting: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_SETTING"
