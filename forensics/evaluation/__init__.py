"""How well did an attack, or a defence against it, do? Scores of one run, statistics over seeds.

For experiments, where the trigger is known: nothing here looks for anything.
"""
