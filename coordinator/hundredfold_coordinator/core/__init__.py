"""The pure core: what the coordinator decides, without clock, network, threads or randomness of its own.

Events go in (`events`), writes and effects come out (`transaction`, `effects`); `decide` is the one door.
"""
