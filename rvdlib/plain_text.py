"""Text that no terminal and no page obeys."""


def plain(text: object) -> str:
    """Without control characters, each written as ``\\x1b`` is."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
