"""``python -m bench scaling``: the operator's own planning code against other ways to size a pool, simulated.

No cluster. Each module states its part of the model: :mod:`bench.scaling.relays` (what a pool can do),
:mod:`bench.scaling.traces` (what it is asked to do), :mod:`bench.scaling.scalers` (who decides its size).
"""
