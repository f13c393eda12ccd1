"""The conformance kit for stores: the rules of `hundredfold.stores.contract`, as pytest tests that a backend inherits.

    class TestMyStore(StoreConformance):
        def open(self, directory: Path) -> Store:
            return MyStore(directory / "x.db")

It does not cover the loss of power, several callers at once (see `hundredfold.testing.concurrency`), and what a store
does when an answer is lost or there is no room (see `hundredfold.testing.outage`).
"""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count, islice, pairwise
from pathlib import Path
from runpy import run_path
from typing import Final

import pytest

from hundredfold.errors import Fenced
from hundredfold.stores.contract import ABSENT, ANY, Batch, Committed, Conflict, Entry, Guard, Store, Write
from hundredfold.testing.rules import same as _same
from hundredfold.testing.rules import true as _true

_ACKNOWLEDGED: Final = 25
"""Commits a child makes before it is killed."""

_CHILD: Final = "import sys; from hundredfold.testing.store import commit_until_killed as f; f(*sys.argv[1:])"

_AWKWARD: Final = [
    *(b"\x00", b"\x00\x00", b"\x7f", b"\x80", b"\xff", b"\xff\x00", b"\xff\xff", bytes(range(0, 256, 8)), b"k" * 1000),
    *(b"a", b"A", b"a ", b"a\x00", b"a/", b"a/\x00", b"ab", b"'", b"%", b"_", b"*", b"[a]", b"\\", b"\n"),
    *("é".encode(), "e\u0301".encode(), "日本".encode(), "🦜".encode(), b"\xed\xa0\x80"),
]
"""Keys that a database which takes them for text would confuse, refuse or sort otherwise."""

_SIBLINGS: Final = [b"k/%d" % number for number in range(1, 8)]
"""Seven keys below one prefix."""


class StoreConformance:
    """Tests of one store. Subclass it at the top level of a test file, with a name that begins with `Test`."""

    def open(self, directory: Path) -> Store:
        """Open the store in `directory`, or make it. If it is durable, the same directory means the same store."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Yield a new store."""
        with closing(self.open(tmp_path)) as store:
            yield store

    @contextmanager
    def _open_durable(self, directory: Path) -> Iterator[Store]:
        with closing(self.open(directory)) as store:
            if not store.capabilities.durable:
                pytest.skip("the store does not declare `durable`")
            yield store

    def test_get_answers_in_the_order_of_its_keys(self, store: Store) -> None:
        """Each key is answered where it stands, a repeated one again, a missing one with None."""
        _put(store, b"a", b"b")
        found = [record and record.value for record in store.get([b"b", b"missing", b"a", b"b"])]
        _same(found, [b"value of b", None, b"value of a", b"value of b"], "get must answer key by key")
        _same(store.get([]), [], "get of no keys must be empty")

    def test_values_come_back_as_they_were(self, store: Store) -> None:
        """Empty, binary and unicode values are kept, as bytes."""
        for value in (b"", b"\x00", bytes(range(256)), "naïve 🦜".encode(), b"\xff" * 3):
            _committed(store, Write(b"k", value))
            _same(_value(store, b"k"), value, "get must return the bytes that were written")
            _same(type(_value(store, b"k")), bytes, "a value must be of type bytes")

    def test_a_large_value_comes_back_as_it_was(self, store: Store) -> None:
        """8 MiB is a value like others."""
        large = bytes(range(256)) * (8 << 12)
        _committed(store, Write(b"large", large), Write(b"small", b"s"))
        _true(_value(store, b"large") == large, "a value of 8 MiB must come back byte by byte")
        _same(_value(store, b"small"), b"s", "its neighbour must be there, too")

    def test_any_bytes_are_a_key(self, store: Store) -> None:
        """Keys are bytes, not text: none is mistaken for another one."""
        for number, key in enumerate(_AWKWARD):
            _committed(store, Write(key, b"%d" % number, ABSENT))
        found = [record and record.value for record in store.get(_AWKWARD)]
        _same(found, [b"%d" % number for number in range(len(_AWKWARD))], "every key must have its own value")

    def test_scan_is_in_byte_order(self, store: Store) -> None:
        """Keys sort as unsigned bytes, whatever the order they were written in; entries are what `get` returns."""
        _put(store, *_AWKWARD[::-1])
        _put(store, b"a/")
        entries = store.scan(b"")
        _same(_keys(entries), sorted(_AWKWARD), "scan must be in byte order of the keys")
        _same([e.record for e in entries], store.get(sorted(_AWKWARD)), "scan and get must agree on value and version")
        _same({type(key) for key in _keys(entries)}, {bytes}, "keys must be of type bytes")

    def test_scan_returns_its_prefix_only(self, store: Store) -> None:
        """The prefix itself belongs to it; longer ones that begin alike, neighbours and wildcards do not."""
        _put(store, b"k", b"k/", b"k/1", b"k/1/2", b"k0", b"k.", b"K/1", b"ka", b"j/", b"%/1", b"*/1")
        _scans(store, b"k/", [b"k/", b"k/1", b"k/1/2"])
        _scans(store, b"k/1", [b"k/1", b"k/1/2"])
        _scans(store, b"k", [b"k", b"k.", b"k/", b"k/1", b"k/1/2", b"k0", b"ka"])
        _scans(store, b"%/", [b"%/1"])
        _scans(store, b"*", [b"*/1"])
        _scans(store, b"nothing", [])

    def test_scan_of_a_prefix_that_ends_in_ff(self, store: Store) -> None:
        r"""The byte after \xff is a carry, and behind \xff\xff there is no end."""
        inside = [b"a\xff", b"a\xff\x00", b"a\xff\xff", b"a\xff\xffz"]
        _put(store, b"a\xfe", *inside, b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01")
        _scans(store, b"a\xff", inside)
        _scans(store, b"a\xff\xff", inside[2:])
        _scans(store, b"\xff", [b"\xff", b"\xff\xff", b"\xff\xff\x01"])
        _scans(store, b"\xff\xff", [b"\xff\xff", b"\xff\xff\x01"])

    def test_scan_begins_behind_after(self, store: Store) -> None:
        """`after` is left out; it need not exist, nor lie in the prefix."""
        _put(store, b"a", *_SIBLINGS, b"z")
        for after, first in ((b"", 0), (b"a", 0), (b"k/", 0), (b"k/1", 1), (b"k/3\x00", 3), (b"k/7", 7), (b"z", 7)):
            found = _keys(store.scan(b"k/", after=after))
            _same(found, _SIBLINGS[first:], f"scan(b'k/', after={after!r}) must go on behind it")

    def test_a_reverse_scan_begins_before_after(self, store: Store) -> None:
        """Behind means before it, when the scan goes backwards."""
        _put(store, b"a", *_SIBLINGS, b"z")
        for after, end in ((b"", 7), (b"z", 7), (b"k/7", 6), (b"k/3\x00", 3), (b"k/1", 0), (b"k/", 0), (b"a", 0)):
            found = _keys(store.scan(b"k/", after=after, reverse=True))
            _same(found, _SIBLINGS[:end][::-1], f"scan(b'k/', after={after!r}, reverse=True) must go on before it")

    def test_scan_returns_as_many_as_it_may(self, store: Store) -> None:
        """The limit counts from the side where the scan begins; by default it is 1000."""
        _put(store, *_SIBLINGS)
        for limit in (0, 1, 3, 7, 8):
            _same(_keys(store.scan(b"k/", limit=limit)), _SIBLINGS[:limit], f"limit={limit} must hold")
            back = _keys(store.scan(b"k/", limit=limit, reverse=True))
            _same(back, _SIBLINGS[::-1][:limit], f"limit={limit} must hold for a reverse scan")
        _put(store, *(b"many/%04d" % number for number in range(1001)))
        _same(len(store.scan(b"many/")), 1000, "1000 must be the limit unless another is given")

    def test_pages_have_no_gap_and_no_repetition(self, store: Store) -> None:
        """Asking again with the last key as `after` goes on exactly there."""
        _put(store, b"a", *_SIBLINGS, b"z")
        for size in (1, 2, 3, 7, 10):
            _same(_paged(store, size, reverse=False), _SIBLINGS, f"pages of {size} must add up to one scan")
            _same(_paged(store, size, reverse=True), _SIBLINGS[::-1], f"so must pages of {size} backwards")

    def test_a_batch_is_all_or_nothing(self, store: Store) -> None:
        """A conflict anywhere in a batch leaves nothing of it, neither writes nor deletions."""
        _put(store, b"gone", b"kept", b"there")
        before = store.scan(b"")
        writes = [Write(b"new", b"1"), Write(b"kept", b"2"), Write(b"gone", None), Write(b"there", b"3", ABSENT)]
        for order in (writes, writes[::-1]):
            _same(_commit(store, *order), Conflict(b"there"), "the batch must conflict, and name the key")
            _same(store.scan(b""), before, "nothing of a batch that conflicts may be written")

    def test_a_large_batch_is_written_whole(self, store: Store) -> None:
        """A thousand writes are one batch, with one version."""
        keys = [b"k/%04d" % number for number in range(1000)]
        version = _put(store, *keys)
        _same({e.record.version for e in store.scan(b"k/")}, {version}, "all keys must have the version of their batch")
        _same(_keys(store.scan(b"k/")), keys, "all writes of a batch must be there")

    def test_batches_of_one_commit_do_not_harm_each_other(self, store: Store) -> None:
        """One conflicts, the others land, and the answers are in order. Any iterable is taken."""
        _put(store, b"taken")
        results = store.commit(Batch([Write(key, b"new", ABSENT)]) for key in (b"a", b"taken", b"b"))
        _same(_kinds(results), ["Committed", "Conflict", "Committed"], "one answer for each batch, in their order")
        _same(results[1], Conflict(b"taken"), "the conflict must name its key")
        _same(_values(store, b"a", b"taken", b"b"), [b"new", b"value of taken", b"new"], "the neighbours must land")

    def test_a_batch_sees_what_earlier_ones_wrote(self, store: Store) -> None:
        """Batches of one commit happen one after the other; one that conflicts has not happened."""
        _put(store, b"taken")
        batches = [
            Batch([Write(b"k", b"first", ABSENT)]),
            Batch([Write(b"k", b"second", ABSENT)]),
            Batch([Write(b"other", b"first", ABSENT), Write(b"taken", b"new", ABSENT)]),
            Batch([Write(b"other", b"second", ABSENT)]),
        ]
        results = store.commit(batches)
        _same(_kinds(results), ["Committed", "Conflict", "Conflict", "Committed"], "a batch must see earlier ones")
        _same(_values(store, b"k", b"other"), [b"first", b"second"], "the batches that were committed must be written")

    def test_preconditions_see_the_state_before_their_batch(self, store: Store) -> None:
        """A batch does not see its own writes, wherever in it they stand."""
        results = store.commit([Batch([Write(b"k", b"1", ABSENT), Write(b"k", b"2", ABSENT)])])
        _same(_kinds(results), ["Committed"], "both writes must see the key absent, as it was before the batch")
        result = _commit(store, Write(b"k", None), Write(b"k", b"3", ABSENT))
        _same(result, Conflict(b"k"), "the second write must see the key that was there before the batch")
        _same(_value(store, b"k"), b"2", "nothing of the batch that conflicts may be written")

    def test_the_last_write_to_a_key_wins(self, store: Store) -> None:
        """Within a batch, and between the batches of a commit."""
        _committed(store, Write(b"k", b"1"), Write(b"k", None), Write(b"k", b"2"), Write(b"x", b"1"), Write(b"x", None))
        _same(_values(store, b"k", b"x"), [b"2", None], "the last write to a key must win inside its batch")
        store.commit([Batch([Write(b"k", b"3")]), Batch([Write(b"k", b"4")])])
        _same(_value(store, b"k"), b"4", "the last batch that writes a key must win")

    def test_nothing_to_write_is_fine(self, store: Store) -> None:
        """A commit may have no batches, a batch no writes; a key that is missing can be deleted."""
        _same(store.commit([]), [], "a commit of no batches must answer with nothing")
        _same(_kinds([_commit(store)]), ["Committed"], "a batch of no writes must be committed")
        _same(_kinds([_commit(store, Write(b"k", None))]), ["Committed"], "deleting a missing key must be fine")
        _same(store.scan(b""), [], "nothing must have been written")

    def test_any_takes_whatever_is_there(self, store: Store) -> None:
        """`ANY` makes, replaces and deletes, and what was written is there at once."""
        for value in (b"1", b"2", None, b"3"):
            _same(_kinds([_commit(store, Write(b"k", value, ANY))]), ["Committed"], "ANY must never conflict")
            _same(_value(store, b"k"), value, "the write must be there at once")

    def test_absent_takes_a_key_that_is_not_there(self, store: Store) -> None:
        """`ABSENT` makes a key once, and again after it was deleted; it can accompany a deletion, too."""
        _same(_kinds([_commit(store, Write(b"k", b"", ABSENT))]), ["Committed"], "a missing key is ABSENT")
        _same(_commit(store, Write(b"k", b"2", ABSENT)), Conflict(b"k"), "a key with an empty value is not ABSENT")
        _same(_commit(store, Write(b"k", None, ABSENT)), Conflict(b"k"), "nor may it be deleted as ABSENT")
        _same(_value(store, b"k"), b"", "what was there must still be there")
        _committed(store, Write(b"k", None))
        _same(_kinds([_commit(store, Write(b"k", b"3", ABSENT))]), ["Committed"], "a deleted key is ABSENT")

    def test_a_version_takes_that_version_only(self, store: Store) -> None:
        """Compare and set: neither an old, nor a future version, nor one of a key that is gone."""
        old = _put(store, b"k")
        now = _committed(store, Write(b"k", b"2", old))
        for stale in (old, now + 1, now + 1000):
            _same(_commit(store, Write(b"k", b"3", stale)), Conflict(b"k"), f"version {stale} is not {now}")
            _same(_commit(store, Write(b"k", None, stale)), Conflict(b"k"), f"nor may {stale} delete version {now}")
        _same(_value(store, b"k"), b"2", "a write that conflicts may not be there")
        _committed(store, Write(b"k", None, now))
        _same(_value(store, b"k"), None, "the present version must be allowed to delete")
        _same(_commit(store, Write(b"k", b"4", now)), Conflict(b"k"), "a key that is gone has no version")

    def test_the_answer_tells_the_version(self, store: Store) -> None:
        """What `Committed` says is what the keys have, and other keys keep theirs."""
        first = _put(store, b"a", b"b")
        second = _put(store, b"b", b"c")
        found = [record and record.version for record in store.get([b"a", b"b", b"c"])]
        _same(found, [first, second, second], "keys must have the version that their commit answered")
        _true(first > ABSENT, f"versions must start above {ABSENT}, but the first was {first}")

    def test_versions_grow_and_are_never_reused(self, store: Store) -> None:
        """Every commit's version is larger than all before, over deletions and conflicts, whatever the key."""
        versions = []
        for key in (b"a", b"b", b"a"):
            versions.append(_put(store, key))
            _same(_commit(store, Write(key, b"", ABSENT)), Conflict(key), "the key is not absent")
            versions += [_committed(store, Write(key, None)), _put(store, key)]
        _growing(versions)

    def test_batches_of_one_commit_have_versions_of_their_own(self, store: Store) -> None:
        """Else a writer could not see that another one wrote its key right after it, in the same commit."""
        results = store.commit([Batch([Write(b"k", b"mine")]), Batch([Write(b"k", b"theirs")])])
        _growing([result.version for result in results if isinstance(result, Committed)])

    def test_a_guard_that_holds_lets_everything_through(self, store: Store) -> None:
        """It is looked at once, before the commit, which may change the guard's own key."""
        version = _put(store, b"guard")
        batches = [Batch([Write(b"guard", b"2", version)]), Batch([Write(b"k", b"1")])]
        results = store.commit(batches, Guard(b"guard", version))
        _same(_kinds(results), ["Committed", "Committed"], "a guard that holds must not be in the way")
        _same(_values(store, b"guard", b"k"), [b"2", b"1"], "what it guards must be written")

    def test_a_stale_guard_fences_everything(self, store: Store) -> None:
        """An old, a future or a missing version raises `Fenced`, and no batch of the commit is written."""
        old = _put(store, b"guard")
        now = _put(store, b"guard", b"kept")
        before = store.scan(b"")
        batches = [Batch([Write(b"a", b"1")]), Batch([Write(b"kept", None)]), Batch([Write(b"guard", b"x")])]
        for guard in (Guard(b"guard", old), Guard(b"guard", now + 1), Guard(b"missing", now)):
            _fenced(store, batches, guard)
            _same(store.scan(b""), before, f"nothing at all may be written behind {guard}")
        _fenced(store, [], Guard(b"guard", old))
        _committed(store, Write(b"guard", None))
        _fenced(store, batches, Guard(b"guard", now))

    def test_close_is_idempotent(self, store: Store) -> None:
        """A second close does nothing, and neither does the third one, of the fixture."""
        store.close()
        store.close()

    def test_a_new_opening_finds_everything(self, tmp_path: Path) -> None:
        """Values, versions and deletions outlive their opener, if the store is durable."""
        with self._open_durable(tmp_path) as store:
            version = _put(store, b"gone", *_AWKWARD)
            _committed(store, Write(b"gone", None), Write(b"large", b"x" * (1 << 20)))
            before = store.scan(b"")
        with self._open_durable(tmp_path) as store:
            _same(store.scan(b""), before, "everything must be there after close and open, and nothing else")
            results = store.commit([Batch([Write(b"a", b"2", version)])])
            _same(_kinds(results), ["Committed"], "a version from before must still fit as a precondition")

    def test_versions_go_on_after_a_new_opening(self, tmp_path: Path) -> None:
        """No version comes again, even when all keys were deleted before."""
        versions = []
        for _ in range(3):
            with self._open_durable(tmp_path) as store:
                versions += [_put(store, b"k"), _committed(store, Write(b"k", None))]
        _growing(versions)

    def test_what_was_acknowledged_outlives_sigkill(self, tmp_path: Path) -> None:
        """A process commits, says so and is killed: all it spoke of is there, and no batch is there by half."""
        with self._open_durable(tmp_path):
            pass
        acknowledged = _acknowledged_before_kill(type(self), tmp_path)
        with self._open_durable(tmp_path) as store:
            left, right = (_numbers(store.scan(side, limit=1_000_000)) for side in (b"left/", b"right/"))
            _same(sorted(acknowledged - left), [], "commits that were acknowledged before SIGKILL are lost")
            _same(left, right, "a batch must be there whole or not at all after SIGKILL")


def commit_until_killed(file: str, name: str, directory: str) -> None:
    """Commit to the store of kit `name` in `file` and print each number that was acknowledged, without an end."""
    store: Store = run_path(file)[name]().open(Path(directory))
    for number in count():
        _committed(store, *(Write(side + b"%08d" % number, b"x" * 500, ABSENT) for side in (b"left/", b"right/")))
        os.write(sys.stdout.fileno(), b"%d\n" % number)


def _acknowledged_before_kill(kit: type[StoreConformance], directory: Path) -> set[int]:
    # A program of its own, not a fork: the process that tests may have threads, and a fork of those is undefined.
    argv = [sys.executable, "-c", _CHILD, inspect.getfile(kit), kit.__name__, str(directory)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as child:
        lines = list(islice(child.stdout or (), _ACKNOWLEDGED))
        child.kill()
        lines += child.stdout or ()  # it went on until the signal came
    _true(len(lines) >= _ACKNOWLEDGED, f"the child ended after {len(lines)} commits; its standard error says why")
    return {int(line) for line in lines}


def _scans(store: Store, prefix: bytes, wanted: list[bytes]) -> None:
    _same(_keys(store.scan(prefix)), wanted, f"scan({prefix!r}) must return the keys that start with it")
    back = _keys(store.scan(prefix, reverse=True))
    _same(back, wanted[::-1], f"scan({prefix!r}, reverse=True) must return the keys that start with it, last one first")


def _growing(versions: Sequence[int]) -> None:
    grow = all(before < after for before, after in pairwise(versions))
    _true(grow, f"each version must be larger than every one before, but they were {versions}")


def _fenced(store: Store, batches: Iterable[Batch], guard: Guard) -> None:
    results: object = None
    with suppress(Fenced):
        results = store.commit(batches, guard)
    _same(results, None, f"commit must raise Fenced behind {guard}, and not answer")


def _commit(store: Store, *writes: Write) -> Committed | Conflict:
    (result,) = store.commit([Batch(writes)])
    return result


def _committed(store: Store, *writes: Write) -> int:
    result = _commit(store, *writes)
    _true(isinstance(result, Committed), f"a batch whose preconditions hold must be committed, not answered {result}")
    return result.version if isinstance(result, Committed) else 0


def _put(store: Store, *keys: bytes) -> int:
    return _committed(store, *(Write(key, b"value of " + key) for key in keys))


def _value(store: Store, key: bytes) -> bytes | None:
    return _values(store, key)[0]


def _values(store: Store, *keys: bytes) -> list[bytes | None]:
    return [record.value if record else None for record in store.get(keys)]


def _kinds(results: Iterable[Committed | Conflict]) -> list[str]:
    return [type(result).__name__ for result in results]


def _keys(entries: Iterable[Entry]) -> list[bytes]:
    return [entry.key for entry in entries]


def _paged(store: Store, size: int, *, reverse: bool) -> list[bytes]:
    keys = [b""]
    for _ in range(len(_SIBLINGS) + 1):  # a store that repeats itself must not hang its test
        keys += _keys(store.scan(b"k/", after=keys[-1], limit=size, reverse=reverse))
    return keys[1:]


def _numbers(entries: Iterable[Entry]) -> set[int]:
    return {int(entry.key.partition(b"/")[2]) for entry in entries}
