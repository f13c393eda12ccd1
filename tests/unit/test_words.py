"""Shows what a search for words finds: texts and numbers, as they are read, and no names of fields."""

from typing import Any

import pytest
from hundredfold.session import Item
from hundredfold.testing.context import FakePort
from hundredfold.words import has_words, words_of


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("C:\\temp", "open C:\\temp now"),
        ('"hi"', 'he said "hi" twice'),
        ("second", "first\nsecond"),
        ("grüße", {"text": "Viele GRÜSSE, viele Grüße"}),
        ("42", {"answer": [41, 42]}),
        ("one two", ["two", {"of": "one"}]),
        ("", "anything"),
    ],
)
def test_a_text_is_found_as_it_is_read(query: str, content: Any) -> None:
    assert has_words(content, words_of(query))


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("nsecond", "first\nsecond"),
        ("null", None),
        ("true", {"yes": True}),
        ("answer", {"answer": "42"}),
        ("one three", ["one", "two"]),
        ("twoone", ["two", "one"]),
    ],
)
def test_what_is_only_written_so_is_not_found(query: str, content: Any) -> None:
    assert not has_words(content, words_of(query))


def test_a_fake_finds_what_a_coordinator_does() -> None:
    port = FakePort(items=[Item("user", {"text": 'say "hi"'}), Item("agent", "say"), Item("user", "SAY it")])
    assert [item.content for item in port.find_items("say", 9, "user")] == ["SAY it", {"text": 'say "hi"'}]
    assert [item.content for item in port.find_items('"hi"', 9, "")] == [{"text": 'say "hi"'}]
