"""How the conformance kits say that a rule is broken; nobody rewrites the assertions of a library, so in full."""


def same(found: object, wanted: object, rule: str) -> None:
    """Raise AssertionError, with the rule, unless what was found is what was wanted."""
    if found != wanted:
        raise AssertionError(f"{rule}\n  wanted: {wanted!r:.1000}\n  found:  {found!r:.1000}")


def true(holds: bool, rule: str) -> None:  # noqa: FBT001  # it is what the function is about
    """Raise AssertionError, with the rule, unless it holds."""
    if not holds:
        raise AssertionError(rule)
