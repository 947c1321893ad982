"""Messages about a run: which targets failed, why and what to do. A message that fails does not change the run's result."""
