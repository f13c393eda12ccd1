"""Shows that the function in the database comes to what a plan comes to, whatever a commit is made of."""

import random
from contextlib import closing

from hundredfold.errors import Fenced
from hundredfold.stores.contract import ABSENT, ANY, Batch, Committed, Conflict, Guard, Store, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.postgresql.parcel import DELETE, LOOK, PUT, pack
from hundredfold.stores.postgresql.store import PostgresqlStore
from servers.postgresql import PostgresqlServer

KEYS = [b"%d" % number for number in range(12)]


def outcome(store: Store, batches: list[Batch], guard: Guard | None) -> list[Committed | Conflict] | str:
    try:
        return store.commit(batches, guard)
    except Fenced:
        return "fenced"


def test_random_commits_come_to_what_they_come_to_in_memory(postgresql: PostgresqlServer) -> None:
    rng = random.Random(3)
    memory = MemoryStore()
    seen = set()
    with closing(PostgresqlStore(postgresql.new_database())) as store:
        for _ in range(400):
            versions = [record.version if record else ABSENT for record in memory.get(KEYS)]

            def write(versions: list[int] = versions) -> Write:
                number = rng.randrange(len(KEYS))
                value = rng.choice([None, b"", b"%d" % rng.randrange(100)])
                return Write(KEYS[number], value, rng.choice([ANY, ANY, ABSENT, versions[number], versions[number]]))

            batches = [Batch([write() for _ in range(rng.randrange(4))]) for _ in range(rng.randrange(7))]
            guard = rng.choice([None, None, Guard(KEYS[0], versions[0]), Guard(KEYS[0], versions[1])])
            result = outcome(memory, batches, guard)
            assert outcome(store, batches, guard) == result
            assert store.scan(b"") == memory.scan(b"")
            seen |= {result} if isinstance(result, str) else {type(one) for one in result}
    assert seen == {"fenced", Committed, Conflict}


def test_batches_that_touch_the_same_key_are_not_of_one_round() -> None:
    batches = [Batch([Write(key, b"v")]) for key in (b"a", b"b", b"a", b"c", b"b")]
    assert pack(batches, None).last_batches == [2, 5]
    assert pack([], None).last_batches == []


def test_only_the_last_write_to_a_key_of_a_batch_is_made() -> None:
    parcel = pack([Batch([Write(b"a", b"1"), Write(b"a", None), Write(b"b", None), Write(b"b", b"2")])], None)
    assert parcel.actions == [LOOK, DELETE, LOOK, PUT]
    assert parcel.values == [b"", b"", b"", b"2"]
