"""The study itself: what is measured, how its choices were made, and what it says of the claims."""
