"""YAML text -> Manifest, or everything that is wrong with it, each error with its line and column.

    bytes ─ decode ─▶ text ─ read_yaml ─▶ nodes with places ─ tables of keys ─▶ settings ─▶ instances, entries ─▶ Manifest

The values (`orchestrator.manifest.manifest`) are light: other rooms use them without loading the reader.
"""
