"""Reads instances and refreshes nothing: what a plan will cost, whether a manifest is true, what an instance has."""
