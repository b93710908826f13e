"""A federation with an adversary: who trains, who attacks, what the server records.

The simulator knows the truth and writes it outside the case; everything else it says goes
through `roundlog.recorder`, as a real server's would. `simulator.run.simulate` runs a scenario.
"""
