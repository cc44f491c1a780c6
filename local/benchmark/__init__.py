"""How fast the ways to train are, how near the device's limit, and what the other stages take.

`python -m local.benchmark`: `__main__` lets the ways take turns; `ways` has each of them, a process of its own, on a
corpus that `synthetic` makes; `flops` counts what they have to compute; `stages` runs the other stages, which `watch`
times; `page` sets the tables.
"""
