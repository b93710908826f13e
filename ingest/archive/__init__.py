"""A case as one file: what belongs in it, how it is written while others write, and read again."""
