"""The notebooks, executed, checked and recorded; what that needs of this machine."""
