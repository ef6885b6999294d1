"""Which network the folder holds; every exported folder has one of its own in this place."""

from leveret.encoders.melstats import MelStatsConfig as Config

NAME = "melstats"

__all__ = ["NAME", "Config"]
