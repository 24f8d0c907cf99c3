"""The published data sets: what each must be, to the byte, and where its publisher keeps it."""

from dataclasses import dataclass

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
LIBREC = "https://raw.githubusercontent.com/guoguibing/librec/master/librec/demo/Datasets"
LEG_UP = "https://raw.githubusercontent.com/XMUDM/ShillingAttack/master"


@dataclass(frozen=True)
class Published:
    """One published data set.

    Attributes:
        users, items, ratings: counts after ``min_ratings`` has been applied.
        levels: the rating scale.
        sha256: hash of all ratings in canonical form, before ``min_ratings``.
        addresses: the publisher's files, to be joined.
        member: the file to read, where the address is a zip archive.
        separator: between a line's fields.
        min_ratings: users with fewer are left out.
        wheel: a distribution in the package index that carries the same ratings, as
            (requirement, member); its member has tabs and a header line.
    """

    users: int
    items: int
    ratings: int
    levels: tuple[float, ...]
    sha256: str
    addresses: tuple[str, ...]
    member: str | None = None
    separator: str = "\t"
    min_ratings: int = 1
    wheel: tuple[str, str] | None = None


CATALOGUE = {
    # Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015.
    "ml-100k": Published(
        users=943,
        items=1682,
        ratings=100_000,
        levels=(1, 2, 3, 4, 5),
        sha256="273f855410feb093231e19c35b690a9098bed32c77d1aa7b33d7cdcfec2d8b11",
        addresses=(f"{GROUPLENS}/ml-100k.zip",),
        member="ml-100k/u.data",
        wheel=("recbole==1.2.1", "recbole/dataset_example/ml-100k/ml-100k.inter"),
    ),
    "ml-1m": Published(
        users=6040,
        items=3706,
        ratings=1_000_209,
        levels=(1, 2, 3, 4, 5),
        sha256="927a392397fb028e4974abbda37b71dca5614cfbeb9d7d66b364039c6bd58450",
        addresses=(f"{GROUPLENS}/ml-1m.zip",),
        member="ml-1m/ratings.dat",
        separator="::",
    ),
    # Guo, Zhang and Yorke-Smith, A Novel Bayesian Similarity Measure, IJCAI 2013.
    "filmtrust": Published(
        users=796,
        items=2011,
        ratings=30_880,
        levels=(0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4),
        sha256="79d5b5f39676627f98ad8e8b5ff36d5c009e6e2a025ddda450d909bc99590355",
        addresses=(f"{LIBREC}/FilmTrust/ratings.txt",),
        separator=" ",
        min_ratings=15,
    ),
    # The subset released with AUSH (CIKM 2020) and Leg-UP (TNNLS 2022) by Lin et al.
    "yelp": Published(
        users=2762,
        items=10_477,
        ratings=119_236,
        levels=(1, 2, 3, 4, 5),
        sha256="61168c61df5de0d0ba234348dbc2bf8f0d09135ff864996d7c4b4024c44fefa0",
        addresses=(f"{LEG_UP}/data/yelp/yelp_train.dat", f"{LEG_UP}/data/yelp/yelp_test.dat"),
    ),
}
