"""The command line: turns options into requests to `app`, prints results through `terminal`, and maps ends to exit codes."""
