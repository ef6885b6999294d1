"""Modules that an exported folder takes along, beside those of its network; each is rewritten by `sources`."""
