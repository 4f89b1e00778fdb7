"""Search: finds faults that break an expectation, and shrinks them to the few that matter."""
