"""The room of verification: whether a run says what its predictions, its encoder and its data say."""
