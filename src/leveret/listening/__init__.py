"""The room of `leveret listen`: the nearest neighbours in a folder of sounds, on a page of this machine alone."""
