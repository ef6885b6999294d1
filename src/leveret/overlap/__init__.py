"""Whether what an encoder was trained on holds clips of a test split."""
