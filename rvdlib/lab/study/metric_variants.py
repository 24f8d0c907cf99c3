"""Metrics of the same names elsewhere: how they differ from those of :mod:`rvdlib.metrics`."""

import pandas as pd

METRIC_VARIANTS = pd.DataFrame(
    [
        (
            "HR@K, NDCG@K",
            "He et al. 2017 (NCF) and many after it",
            "the test item is ranked among 99 sampled negatives, not the whole catalogue",
            "far higher; may order systems differently (Krichene and Rendle 2020)",
        ),
        (
            "Hit@K, Recall@K",
            "RecBole, mode full",
            "validation items are masked at test time as training items are",
            "slightly higher: fewer items compete",
        ),
        (
            "Hit@K",
            "systems with several test items per user",
            "one hit among a user's test items is enough",
            "higher; equal with one test item each",
        ),
        (
            "Recall@K",
            "systems with several test items per user",
            "the share of a user's test items within K; some divide by min(K, test items)",
            "equal to HR@K with one test item each",
        ),
        (
            "target hit ratio",
            "public code of APT and TrialAttack's authors",
            "raters of the target stay in the denominator",
            "lower, most for popular targets; reported as target_hit_ratio_with_raters",
        ),
        (
            "hit ratio of a target set",
            "attack papers with several targets",
            "one target of the set within K is enough, where ours is the mean over targets",
            "higher, up to the number of targets times",
        ),
        (
            "hit ratio",
            "some public attack code",
            "fake users are counted; they have rated the targets, or rank them on top",
            "off by the share of fakes, in either direction",
        ),
        (
            "any ranking metric",
            "some public code",
            "seen items are masked by multiplication with 0",
            "wrong as soon as scores are negative: seen items enter the list",
        ),
        (
            "any ranking metric",
            "lists built with a partial sort",
            "ties at the border of the list fall at random or by memory order",
            "differs by run where many scores are equal, as popularity's are",
        ),
        (
            "RMSE",
            "libraries that do not clip",
            "predictions beyond the scale are scored as they are",
            "higher",
        ),
    ],
    columns=["called", "where", "differs from ours", "effect"],
)
