"""What can be proved of the defences: bounds, with their proofs, and checks that try to break them."""
