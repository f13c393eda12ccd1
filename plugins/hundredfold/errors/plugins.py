"""Behaviours, plugins, environments and embedders."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class UnknownBehaviour(HundredfoldError):
    """There is no behaviour '{behaviour}' in environment '{environment}'; it has: {known}.

    {hint}
    """

    behaviour: str
    environment: str
    known: str
    hint: str = "`hundredfold plugins` shows where each comes from; `--plugin FILE` adds one."
    code = "NOT_FOUND"
    reason = "BEHAVIOUR_NOT_FOUND"


@dataclass(eq=False)
class UnknownEnvironment(HundredfoldError):
    """There is no environment '{environment}' here. Open it first; temporary ones end with their coordinator."""

    environment: str
    code = "NOT_FOUND"
    reason = "ENVIRONMENT_NOT_FOUND"


@dataclass(eq=False)
class UnknownEmbedder(HundredfoldError):
    """There is no embedder '{embedder}' in this environment; it has: {known}.

    {hint}
    """

    embedder: str
    known: str
    hint: str = "`pip install 'hundredfold[embed]'` brings `wordllama`; a plugin can bring others."
    code = "NOT_FOUND"
    reason = "EMBEDDER_NOT_FOUND"


@dataclass(eq=False)
class BrokenPlugin(HundredfoldError):
    """Plugin '{plugin}' could not be used: {problem}. Correct it; `hundredfold plugins` shows the traceback."""

    plugin: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BROKEN_PLUGIN"


@dataclass(eq=False)
class BrokenEnvironment(HundredfoldError):
    """Environment '{environment}' cannot run anything: {problem}."""

    environment: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BROKEN_ENVIRONMENT"
