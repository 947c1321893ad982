"""The message in the morning: which targets failed, why and what to do, to whoever the manifest says, and never at the
price of the run's result.
"""
