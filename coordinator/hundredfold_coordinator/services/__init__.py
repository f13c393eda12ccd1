"""The gRPC services: they check, ask the journal, and answer. No handler owns a change of state."""
