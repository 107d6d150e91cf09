"""Reports for people: the facts that the stages wrote, as tables and sentences."""
