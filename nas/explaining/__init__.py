"""What a study learnt: which choices mattered, how far early scores could be trusted, what the best have in common."""
