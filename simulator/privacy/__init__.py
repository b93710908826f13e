"""What does the noise promise one device: in a round, in the run, and once cohorts are known?

`simulator.privacy.accounting` answers with one `Account`; `gaussian` holds what has a closed form,
`losses` and `composition` the rest. Nothing here is imported until somebody asks.
"""
