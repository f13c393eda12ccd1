"""Messages and stubs generated from `proto/`; do not edit, run `scripts/generate`."""
