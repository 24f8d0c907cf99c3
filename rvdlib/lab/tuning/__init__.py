"""How victims and defences are chosen, and other people's recommenders beside them."""
