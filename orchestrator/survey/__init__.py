"""Reads instances and refreshes nothing: what a plan will cost, whether a manifest is right, which models exist."""
