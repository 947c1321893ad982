"""Commands are run here as well: what they do to the process is undone after each test."""

from tests.cli.conftest import own_process

__all__ = ["own_process"]
