"""Shows that stores on servers are reached through TLS, and not without it where it is asked for.

The servers are behind a proxy that has TLS, as those of the wheels have none.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Batch, Committed, Store, Write
from hundredfold.stores.postgresql import open_store
from hundredfold.stores.redis import open_redis
from servers.postgresql import PostgresqlServer, database_of
from servers.redis import RedisServer
from servers.tls import Certificate, TlsProxy, make_certificate, tls_before


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = make_certificate(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("there is no openssl to make a certificate with")
    return made


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls")) or certificate


@pytest.fixture
def valkey(redis: RedisServer, certificate: Certificate) -> Iterator[TlsProxy]:
    with tls_before(redis.socket, certificate) as proxy:
        yield proxy


@pytest.fixture
def postgres(postgresql: PostgresqlServer, certificate: Certificate) -> Iterator[TlsProxy]:
    with tls_before(postgresql.directory / ".s.PGSQL.5432", certificate, asked_first=True) as proxy:
        yield proxy


def use(store: Store, proxy: TlsProxy) -> None:
    with closing(store):
        (result,) = store.commit([Batch([Write(b"k", b"v" * 100_000)])])
        assert isinstance(result, Committed)
        (found,) = store.get([b"k"])
        assert found
        assert found.value == b"v" * 100_000
    assert proxy.handshakes == 1


def test_valkey_is_reached_through_tls(valkey: TlsProxy, certificate: Certificate) -> None:
    use(open_redis(f"rediss://localhost:{valkey.port}?namespace=tls&ssl_ca_certs={certificate.path}"), valkey)


def test_a_valkey_that_nobody_vouches_for_is_refused(valkey: TlsProxy, other_certificate: Certificate) -> None:
    for more in ("", f"&ssl_ca_certs={other_certificate.path}"):
        with pytest.raises(StoreUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*ssl_ca_certs"):
            open_redis(f"rediss://localhost:{valkey.port}?namespace=tls{more}")


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_postgresql_is_reached_through_tls(
    postgres: TlsProxy, postgresql: PostgresqlServer, certificate: Certificate, mode: str
) -> None:
    name = database_of(postgresql.new_database())
    vouched = f"&sslrootcert={certificate.path}" if mode == "verify-full" else ""
    use(open_store(f"postgresql://postgres@localhost:{postgres.port}/{name}?sslmode={mode}{vouched}"), postgres)


def test_a_postgresql_that_nobody_vouches_for_is_refused(
    postgres: TlsProxy, certificate: Certificate, other_certificate: Certificate
) -> None:
    url = f"postgresql://postgres@localhost:{postgres.port}/postgres?sslmode=verify-full"
    with pytest.raises(StoreUnavailable, match=r"certificate verify failed.*sslrootcert"):
        open_store(f"{url}&sslrootcert={other_certificate.path}")
    with pytest.raises(StoreUnavailable, match=r"does not match host name.*certificate"):
        open_store(f"{url.replace('localhost', '127.0.0.1')}&sslrootcert={certificate.path}")
    with pytest.raises(StoreUnavailable, match=r"root certificate file.*sslrootcert"):
        open_store(f"{url}&sslrootcert=/no/such/file")


def test_a_postgresql_without_tls_is_not_used_where_it_is_required(postgresql: PostgresqlServer) -> None:
    with (
        tls_before(postgresql.directory / ".s.PGSQL.5432", None, asked_first=True) as proxy,
        pytest.raises(StoreUnavailable, match=r"does not support SSL.*sslmode"),
    ):
        open_store(f"postgresql://postgres@localhost:{proxy.port}/postgres?sslmode=require")
