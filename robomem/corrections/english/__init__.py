"""English: words, grammar, and what its rules mean."""
