"""Clients of a coordinator: `Client` for asyncio, `SyncClient` for everything else."""

from hundredfold.client.client import Client
from hundredfold.client.submission import Submission, decode, encode, result_of
from hundredfold.client.sync_client import SyncClient

__all__ = ["Client", "Submission", "SyncClient", "decode", "encode", "result_of"]
