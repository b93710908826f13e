"""How do people run experiments? The only room that may import the simulator.

It orchestrates: what is computed is computed by `simulator` and `forensics`.
"""
