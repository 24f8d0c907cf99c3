"""What can be proved of the defences, and held against what is measured."""
