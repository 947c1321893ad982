"""Text for people: tables, log lines, the live display, marks for CI systems, and the streams that carry them."""
