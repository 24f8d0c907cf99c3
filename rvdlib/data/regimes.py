"""Which regime of training ratings are fit for."""

from rvdlib.data.ratings import Ratings


def check_regime(ratings: Ratings, regime: str) -> None:
    """Raise ``ValueError`` for the rating regime where all ratings are alike: nothing tells items apart."""
    if regime == "rating" and len(ratings.levels) == 1:
        raise ValueError(
            f"{ratings.name}: every rating is {ratings.levels[0]:g}, as in implicit data, and the "
            "rating regime can learn nothing from that: take the ranking regime (--regime ranking), "
            "in which it counts that there is none"
        )
