"""Refreshes the schemas of many Omni models under one key's budget of requests, and says what became of each.

Importing this package costs next to nothing: the rooms (`orchestrator.manifest`, `orchestrator.run`, ...) are imported by those who use them.
"""

__version__ = "0.1.0"
