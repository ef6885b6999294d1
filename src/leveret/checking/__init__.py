"""What an encoder must satisfy before its scores mean anything, and what it costs: `leveret check`."""
