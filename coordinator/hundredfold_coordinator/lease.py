"""The lease: every start of a coordinator takes the store over with the next epoch, and keeps earlier ones out."""

from hundredfold.errors import Fenced
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import ABSENT, Batch, Committed, Guard, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage


async def take_lease(storage: Storage, holder: records_pb2.ProcessIdentity) -> int:
    """Commit the next epoch and guard all later commits with it. Returns the epoch, from 1.

    Raises:
        Fenced: another coordinator took it in the same moment.

    """
    (found,) = await storage.get([keys.LEASE])
    lease = records_pb2.LeaseRecord.FromString(found.value) if found else records_pb2.LeaseRecord()
    lease.epoch += 1
    lease.holder.CopyFrom(holder)
    write = Write(keys.LEASE, lease.SerializeToString(), found.version if found else ABSENT)
    (result,) = await storage.commit([Batch([write])])
    if not isinstance(result, Committed):
        raise Fenced
    storage.guard = Guard(keys.LEASE, result.version)
    return lease.epoch
