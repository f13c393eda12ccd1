"""Vector memory: collections that clients and tasks write and search."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hundredfold import Collection, Remembered, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import CollectionExists, InvalidArgument, PayloadTooLarge, UnknownCollection
from hundredfold.v1 import behaviour_pb2, task_pb2

NUMBERS = """
from hundredfold import hookimpl

class Numbers:
    name = "numbers"
    dimension = 1

    def embed(self, texts):
        return [[float(text)] for text in texts]

@hookimpl
def hundredfold_embedders():
    return [Numbers()]
"""


def fill(client: SyncClient, name: str, **fields: Any) -> None:
    """Make a collection of four points of a plane."""
    client.memory.create(name, 2, distance="euclidean", **fields)
    points = {"a": (0, 0), "b": (1, 0), "c": (0, 3), "d": (5, 5)}
    records = [
        Remembered(key, point, {"at": list(point)}, {"even": sum(point) % 2 == 0}) for key, point in points.items()
    ]
    client.memory.write(name, records)


def ids(client: SyncClient, name: str, *arguments: Any, **fields: Any) -> list[str]:
    return [match.id for match in client.memory.search(name, *arguments, **fields)]


def test_the_nearest_come_first(client: SyncClient) -> None:
    fill(client, "plane")
    found = client.memory.search("plane", (0.2, 0), 3)
    assert [match.id for match in found] == ["a", "b", "c"]
    assert [match.distance for match in found] == pytest.approx([0.2, 0.8, 3.00666], rel=1e-4)
    assert found[0].content == {"at": [0, 0]}
    assert ids(client, "plane", (0.2, 0), where={"even": True}) == ["a", "d"]


def test_what_is_written_is_found_at_once_and_what_is_deleted_is_not(client: SyncClient) -> None:
    fill(client, "changing")
    client.memory.write("changing", [Remembered("a", (9, 9)), Remembered("e", (0, 0))], delete=["b"])
    assert ids(client, "changing", (0, 0)) == ["e", "c", "d", "a"]


def test_collections_are_made_once_listed_and_deleted(client: SyncClient) -> None:
    made = client.memory.create("kept", 3, embedder="wordllama", tenant="t")
    assert client.memory.create("kept", 3, embedder="wordllama", tenant="t") == made
    assert made == Collection("kept", 3, "cosine", "wordllama", "t", made.create_time)
    assert made.create_time
    with pytest.raises(CollectionExists, match="3 figures, cosine"):
        client.memory.create("kept", 4)
    assert made in client.memory.list()
    client.memory.write("kept", [Remembered("a", (1, 2, 3))])
    client.memory.delete("kept")
    with pytest.raises(UnknownCollection, match="'kept'"):
        client.memory.delete("kept")
    assert "kept" not in {collection.name for collection in client.memory.list()}
    with pytest.raises(UnknownCollection):
        client.memory.search("kept", (1, 2, 3))
    client.memory.create("kept", 3)
    assert ids(client, "kept", (1, 2, 3)) == []


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda memory: memory.create("", 2), "collection.name"),
        (lambda memory: memory.create("x", 0), "collection.dimension"),
        (lambda memory: memory.create("x", 2, distance="far"), "distance"),
        (lambda memory: memory.write("misfit", [Remembered("a", (1,))]), "writes.upsert[0].vector"),
        (lambda memory: memory.write("misfit", [Remembered("", (1, 2))]), "writes.upsert[0].id"),
        (lambda memory: memory.write("misfit", [Remembered("a", (1, float("nan")))]), "writes.upsert[0].vector"),
        (lambda memory: memory.search("misfit", (1, 2, 3)), "query.vector"),
        (lambda memory: memory.search("misfit", (1, 2), 1001), "query.limit"),
        (lambda memory: memory.search("misfit", (1, 2), where={str(n): n for n in range(65)}), "query.where"),
    ],
    ids=["name", "dimension", "distance", "short vector", "no id", "no number", "long query", "limit", "metadata"],
)
def test_what_does_not_fit_is_named(client: SyncClient, call: Any, field: str) -> None:
    client.memory.create("misfit", 2)
    with pytest.raises(InvalidArgument) as refused:
        call(client.memory)
    assert refused.value.field == field


def test_as_many_records_as_one_likes_are_written_in_portions_that_fit(client: SyncClient) -> None:
    client.memory.create("wide", 1536)
    client.memory.write("wide", [Remembered(str(n), [float(n % 7)] * 1535 + [1.0]) for n in range(1000)])
    assert len(client.memory.search("wide", [1.0] * 1536, 1000)) == 1000


def test_more_than_fits_into_a_message_is_not_written(client: SyncClient) -> None:
    client.memory.create("large", 1)
    with pytest.raises(PayloadTooLarge, match="`writes`"):
        client.memory.write("large", [Remembered("a", [1.0], "x" * (5 << 20))])
    assert ids(client, "large", [1.0]) == []


def test_odd_text_is_metadata_like_any_other(client: SyncClient) -> None:
    client.memory.create("odd", 1)
    client.memory.write("odd", [Remembered("a", [1.0], metadata={"x": "\ud800", "y": "é\u0000"})])
    assert ids(client, "odd", [1.0], where={"x": "\ud800", "y": "é\u0000"}) == ["a"]
    assert ids(client, "odd", [1.0], where={"x": "?"}) == []


# Behaviours -----------------------------------------------------------------------------------------------------------


def test_agents_search_by_text_and_remember_with_their_results(client: SyncClient) -> None:
    client.memory.create("facts", 256, embedder="wordllama")
    learned = [learn(client, text) for text in ("cats are animals", "stocks fell sharply", "dogs are pets")]
    assert learned[:2] == [[], ["cats are animals"]]
    assert learned[2] == ["cats are animals", "stocks fell sharply"], "the nearer one first"
    assert learn(client, "kittens are young cats")[0] in ("cats are animals", "dogs are pets")


def learn(client: SyncClient, text: str) -> Any:
    return result_of(client.wait(client.submit("learn", {"collection": "facts", "text": text}).id))


def test_an_attempt_that_fails_has_remembered_nothing(client: SyncClient) -> None:
    client.memory.create("careful", 256, embedder="wordllama")
    task = client.wait(client.submit("learn", {"collection": "careful", "text": "lost", "fail": True}).id)
    assert task.state == task_pb2.TASK_STATE_FAILED
    assert ids(client, "careful", [0.1] * 256) == []


def test_an_embedder_that_nobody_has_is_refused(client: SyncClient) -> None:
    with pytest.raises(InvalidArgument, match=r"there are: wordllama. Did you mean 'wordllama'\?$") as refused:
        client.memory.create("other", 4, embedder="wordlama")
    assert refused.value.field == "collection.embedder"
    assert "other" not in {collection.name for collection in client.memory.list()}


def test_an_embedder_of_another_environment_is_named_where_it_is_missing(client: SyncClient, tmp_path: Path) -> None:
    plugin = tmp_path / "numbers.py"
    plugin.write_text(NUMBERS)
    client.open_environment(behaviour_pb2.EnvironmentSpec(plugin_files=[str(plugin)]))
    client.memory.create("numbers", 1, embedder="numbers")
    task = client.wait(client.submit("learn", {"collection": "numbers", "text": "x"}).id)
    assert (task.failure.type, "has: wordllama" in task.failure.message) == ("UnknownEmbedder", True)
    assert "a plugin can bring others" in task.failure.message


def test_a_collection_of_another_tenant_is_not_there(client: SyncClient) -> None:
    client.memory.create("theirs", 256, embedder="wordllama", tenant="them")
    wish = {"collection": "theirs", "text": "x"}
    ours = client.wait(client.submit("learn", wish, tenant="us").id)
    assert ours.failure.type == "UnknownCollection"
    theirs = client.wait(client.submit("learn", wish, tenant="them").id)
    assert theirs.state == task_pb2.TASK_STATE_SUCCEEDED


def test_what_does_not_fit_its_collection_fails_the_attempt(client: SyncClient) -> None:
    client.memory.create("small", 3, embedder="wordllama")
    task = client.wait(client.submit("learn", {"collection": "small", "text": "x"}).id)
    assert (task.failure.type, "has 3 figures, and its embedder 'wordllama' makes 256" in task.failure.message) == (
        "InvalidArgument",
        True,
    )


def test_an_agent_learns_at_once_that_a_vector_does_not_fit(client: SyncClient) -> None:
    """When the result is recorded it is too late: all of the work would be lost."""
    client.memory.create("plane of two", 2)
    wishes = [("plane of two", [1.0]), ("plane of two", [1.0, 2.0]), ("nowhere", [1.0])]
    said = [
        result_of(client.wait(client.submit("force", {"collection": name, "figures": figures}).id))
        for name, figures in wishes
    ]
    assert ("has 1 figures, and those of 'plane of two' have 2" in said[0], said[1]) == (True, "it fits")
    assert "no collection 'nowhere'" in said[2]


def test_what_is_found_says_who_wrote_it_and_when(client: SyncClient) -> None:
    client.memory.create("signed", 2)
    client.memory.write("signed", [Remembered("b", [0.0, 1.0])])
    task = client.wait(client.submit("force", {"collection": "signed", "figures": [1.0, 0.0]}).id)
    agents, clients = client.memory.search("signed", [1.0, 0.0])
    assert (agents.task_id, agents.attempt, clients.task_id, clients.attempt) == (task.id, 1, "", 0)
    for match in (agents, clients):
        assert match.update_time
        assert abs((match.update_time - datetime.now(UTC)).total_seconds()) < 60
