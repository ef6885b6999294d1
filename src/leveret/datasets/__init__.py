"""Getting published datasets, examining what lies on a disk, and making small copies of it."""
