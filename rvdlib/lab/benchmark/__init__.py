"""What serving costs: time, memory, and whether the forms of RVD agree."""
