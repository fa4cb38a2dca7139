"""A stand-in Braze workspace over real HTTP on loopback, deterministic from a seed."""
