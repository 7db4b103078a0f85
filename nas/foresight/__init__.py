"""What a search will take, said before it is spent."""
