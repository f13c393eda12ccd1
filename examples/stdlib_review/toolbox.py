"""The toolbox: asks the tools of an HTTP API about one module, with time-outs, and again where that helps.

A tool that stays broken is an answer less, never an exception: what went wrong is noted in `faults`. HTTP/1.0 by hand
keeps the process small, and ends at once when the task is cancelled; use the client you like.

See also: `tool_api.py`, the far end.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


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
        self._host, _, self._port = address.partition(":")
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
                async with asyncio.timeout(self._timeout):
                    answer = await self._get(f"/{tool}/{self._module}")
            except TimeoutError:
                problem = f"no answer within {self._timeout:g} s"
            except (OSError, EOFError, ValueError) as error:
                problem = str(error)
            else:
                self.used.append(tool)
                if problem:
                    self._note(ToolFault(tool, problem, tries, recovered=True))
                return answer
            if pause is not None:
                await asyncio.sleep(pause)
        self._note(ToolFault(tool, problem, 1 + len(self._pauses), recovered=False))
        return None

    async def _get(self, path: str) -> Any:
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        with closing(writer):
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
        status = int(head.split()[1])
        if status != HTTPStatus.OK:
            message = f"answered {status}"
            raise ValueError(message)
        return json.loads(body)

    def _note(self, fault: ToolFault) -> None:
        self.faults.append(fault)
        self._on_fault(fault)
