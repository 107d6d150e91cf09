"""What people look at: facts read from a run, and their form on a terminal."""
