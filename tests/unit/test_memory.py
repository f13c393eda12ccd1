"""Shows what a behaviour has of vector memory."""

from collections.abc import Mapping

import pytest
from hundredfold.errors import InvalidArgument
from hundredfold.memory import AsyncMemory, Match, Memory, Remembered, Vector
from hundredfold.session import Json


class Port:
    """Embeds a text by its length; finds what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[float], int, Mapping[str, Json]]] = []

    def embed(self, collection: str, text: str) -> Vector:
        return [float(len(text)), float(len(collection))]

    def check_dimension(self, collection: str, dimension: int) -> None:
        if dimension > 2:
            raise InvalidArgument("vector", f"has {dimension} figures, too many for {collection}")

    def search_memory(self, collection: str, vector: Vector, limit: int, where: Mapping[str, Json]) -> list[Match]:
        self.asked.append((collection, list(vector), limit, where))
        return [Match("a", 0.5)]


def test_a_text_is_searched_for_by_its_vector() -> None:
    port = Port()
    assert Memory(port, "notes").search("four", 3, where={"year": 2026}) == [Match("a", 0.5)]
    assert port.asked == [("notes", [4.0, 5.0], 3, {"year": 2026})]


def test_a_vector_is_searched_for_as_it_is() -> None:
    port = Port()
    Memory(port, "notes").search((1, 2))
    assert port.asked == [("notes", [1.0, 2.0], 10, {})]


async def test_an_async_behaviour_awaits_both() -> None:
    port = Port()
    memory = AsyncMemory(port, "notes")
    assert await memory.search("four") == [Match("a", 0.5)]
    await memory.upsert("x", "four")
    assert memory.upserted == {"x": Remembered("x", [4.0, 5.0], "four")}


def test_a_text_stands_for_itself_unless_it_stands_for_something_else() -> None:
    memory = Memory(Port(), "notes")
    memory.upsert("a", "four")
    memory.upsert("b", "four", {"title": "IV"}, {"year": 1})
    memory.upsert("c", [1, 2])
    assert memory.upserted == {
        "a": Remembered("a", [4.0, 5.0], "four"),
        "b": Remembered("b", [4.0, 5.0], {"title": "IV"}, {"year": 1}),
        "c": Remembered("c", [1.0, 2.0], None),
    }


def test_the_last_word_about_a_record_counts() -> None:
    memory = Memory(Port(), "notes")
    memory.upsert("a", [1])
    memory.delete("a")
    memory.delete("b")
    memory.upsert("b", [2])
    assert (set(memory.upserted), memory.deleted) == ({"b"}, {"a"})


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_is_no_json_is_refused_where_it_is_written(value: object) -> None:
    memory = Memory(Port(), "notes")
    with pytest.raises((TypeError, ValueError)):
        memory.upsert("a", [1], value)
    with pytest.raises((TypeError, ValueError)):
        memory.search([1], where={"a": value})
    assert memory.upserted == {}


@pytest.mark.parametrize(
    "vector", [[1, 2, 3], [float("nan")], [float("inf")], [1e39]], ids=["long", "nan", "inf", "64 bits"]
)
def test_a_vector_that_does_not_fit_is_refused_where_it_is_written(vector: list[float]) -> None:
    """Or the commit would be refused, and the work of the attempt lost."""
    memory = Memory(Port(), "notes")
    with pytest.raises(InvalidArgument, match="`vector`"):
        memory.upsert("a", vector)
    assert memory.upserted == {}


def test_the_record_that_is_one_too_many_is_refused_where_it_is_written() -> None:
    memory = Memory(Port(), "notes")
    for number in range(999):
        memory.upsert(str(number), [1])
    memory.delete("999")
    with pytest.raises(InvalidArgument, match="1000 records of 'notes'"):
        memory.upsert("1000", [1])
    with pytest.raises(InvalidArgument, match="1000 records of 'notes'"):
        memory.delete("1000")
    memory.upsert("999", [2])
    memory.delete("0")
    assert (len(memory.upserted), memory.deleted) == (999, {"0"})


@pytest.mark.parametrize("record_id", ["", "x" * 201, "a\nb"], ids=["none", "long", "control"])
def test_what_is_no_name_of_a_record_is_refused_where_it_is_written(record_id: str) -> None:
    memory = Memory(Port(), "notes")
    for change in (lambda: memory.upsert(record_id, [1]), lambda: memory.delete(record_id)):
        with pytest.raises(InvalidArgument, match="`record_id`"):
            change()
