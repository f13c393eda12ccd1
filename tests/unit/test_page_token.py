"""Shows that a page token comes back as the key it was made of, and that what is none is refused."""

import pytest
from hundredfold.errors import InvalidArgument
from hundredfold_coordinator.services import page_token


def test_a_token_comes_back_as_its_key() -> None:
    assert page_token.parse(page_token.make(b"task/\xff\x00"), b"task/") == b"task/\xff\x00"


def test_no_token_is_the_first_page() -> None:
    assert page_token.parse("", b"task/") == b""


@pytest.mark.parametrize("token", ["!", "é", "abc", page_token.make(b"session/a")])
def test_a_token_of_something_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        page_token.parse(token, b"task/")
