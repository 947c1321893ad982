"""`python -m orchestrator` is the console script `omni-refresh`."""

from orchestrator.cli.main import main

if __name__ == "__main__":
    main()
