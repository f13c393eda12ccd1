"""Recent inputs: given out once, bounded by their size."""

from hundredfold.v1 import payload_pb2
from hundredfold_coordinator.inputs import RecentInputs


def test_an_input_is_given_out_once() -> None:
    inputs = RecentInputs()
    inputs.keep("t", payload_pb2.Payload(data=b"1"))
    assert inputs.take("t") == payload_pb2.Payload(data=b"1")
    assert inputs.take("t") is None


def test_the_oldest_are_forgotten_first() -> None:
    inputs = RecentInputs()
    for number in range(20):
        inputs.keep(f"t{number}", payload_pb2.Payload(data=bytes(1 << 20)))
    assert [number for number in range(20) if inputs.take(f"t{number}")] == list(range(4, 20))
    inputs.keep("after", payload_pb2.Payload(data=bytes(16 << 20)))
    assert inputs.take("after")
