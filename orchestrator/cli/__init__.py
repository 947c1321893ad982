"""Reads arguments, wires the rooms, and maps the end of a run to an exit code; no logic of its own."""
