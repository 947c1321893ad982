"""Text for people: tables, log lines, the live display, the sections and annotations of CI systems, and the streams that carry them."""
