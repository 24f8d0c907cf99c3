"""RVD for anybody's torch model, and the checks that say whether it can be defended."""
