"""The use cases: start, resume and retry a run, plan, check, discover. The command line and the Python API call them.

Each takes one request and a `Context` and returns a value. None of them prints, exits, sets up logging or handles signals.
"""
