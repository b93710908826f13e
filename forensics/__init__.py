"""What can be asked of a recorded run? One module for each question."""
