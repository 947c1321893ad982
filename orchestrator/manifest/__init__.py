"""Reads YAML text into a `Manifest`, or reports every error in it with its line and column.

    bytes ─ decode ─▶ text ─ read_yaml ─▶ nodes with places ─ tables of keys ─▶ settings ─▶ instances, entries ─▶ Manifest

`orchestrator.manifest.manifest` has the values. To import them does not load the reader.
"""
