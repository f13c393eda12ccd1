"""Exactly what shares a process with user code: the zygote, and the workers forked from it."""
