"""The toolbox: asks the tools of an HTTP API about one module, with time-outs, and again where that helps.

A tool that stays broken is an answer less, never an exception: what went wrong is noted in `faults`.

See also: `tool_api.py`, the far end.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

_OK: Final = 200


@dataclass(frozen=True, slots=True)
class ToolFault:
    """A tool that failed at least once: how, how often it was asked, and whether it answered in the end."""

    tool: str
    problem: str
    tries: int
    recovered: bool


class Toolbox:
    """The tools at `address`, asked about `module`.

    Args:
        on_fault: told of each fault as soon as it is over.
        timeout_seconds: how long one call may take.
        pause_seconds: before the second try; twice as long before each further one.
        tries: how often a tool is asked at most.

    Attributes:
        used: tools that answered.
        calls: calls made, those that failed included.
        faults: tools that failed at least once.

    """

    def __init__(
        self,
        address: str,
        module: str,
        *,
        on_fault: Callable[[ToolFault], None],
        timeout_seconds: float = 3,
        pause_seconds: float = 0.1,
        tries: int = 3,
    ) -> None:
        self._address = address
        self._module = module
        self._on_fault = on_fault
        self._timeout = timeout_seconds
        self._pauses = [pause_seconds * 2**n for n in range(tries - 1)]
        self.used: list[str] = []
        self.calls = 0
        self.faults: list[ToolFault] = []

    async def ask_all(self, tools: Sequence[str]) -> dict[str, Any]:
        """Ask several tools at once; return the answers of those that have one."""
        answers = await asyncio.gather(*map(self.ask, tools))
        return {tool: answer for tool, answer in zip(tools, answers, strict=True) if answer is not None}

    async def ask(self, tool: str) -> Any:
        """Ask a tool; return its answer, or None if it stayed broken."""
        problem = ""
        for tries, pause in enumerate([*self._pauses, None], start=1):
            self.calls += 1
            try:
                answer = await asyncio.to_thread(self._get, tool)
            except (OSError, HTTPException, ValueError) as error:
                problem = self._describe(error)
            else:
                self.used.append(tool)
                if problem:
                    self._note(ToolFault(tool, problem, tries, recovered=True))
                return answer
            if pause is not None:
                await asyncio.sleep(pause)
        self._note(ToolFault(tool, problem, 1 + len(self._pauses), recovered=False))
        return None

    def _get(self, tool: str) -> Any:
        with closing(HTTPConnection(self._address, timeout=self._timeout)) as connection:
            connection.request("GET", f"/{tool}/{self._module}")
            response = connection.getresponse()
            body = response.read()
        if response.status != _OK:
            raise HTTPException(f"answered {response.status}")
        return json.loads(body)

    def _describe(self, error: Exception) -> str:
        return f"no answer within {self._timeout:g} s" if isinstance(error, TimeoutError) else str(error)

    def _note(self, fault: ToolFault) -> None:
        self.faults.append(fault)
        self._on_fault(fault)
