"""What is trained on: a corpus is opened from a word, and read as batches of random crops."""
