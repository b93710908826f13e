"""How does an alarm reach a person who looks at no screen? By a webhook or a mail, once.

The log holds the alarms and each channel's journal what was told, so nothing is queued in memory:
a worker asks the store for what its channel has not told yet. A channel that hangs holds up itself
and nothing else.

Telling is at least once: who dies between a delivery and its line in the journal tells it again,
under the same id.
"""
