"""How fast the ways to train are, and how near the device's limit: `python -m local.benchmark`.

`__main__` lets the ways take turns and sets the table; `ways` has each of them, a process of its own;
`flops` counts what they have to compute.
"""
