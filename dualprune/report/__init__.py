"""What people look at: facts that the stages wrote, as tables and sentences."""
