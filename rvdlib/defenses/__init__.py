"""Defences: before training, in training, at inference, or a chain (:mod:`rvdlib.defenses.protocol`)."""

from rvdlib.defenses.adversarial_poisoning_training import AdversarialPoisoningTraining
from rvdlib.defenses.adversarial_training import AdversarialTraining
from rvdlib.defenses.any_model.checks import CheckResult, check_defender
from rvdlib.defenses.any_model.functional import FunctionalRVD, FunctionalRVDConfig
from rvdlib.defenses.any_model.victim_module import VictimModule
from rvdlib.defenses.blending import Blending
from rvdlib.defenses.closed_form import ClosedFormConfig, ClosedFormRVD
from rvdlib.defenses.count import Count
from rvdlib.defenses.edge_reweighting import EdgeReweighting
from rvdlib.defenses.engine import FastRVD
from rvdlib.defenses.huber_loss import HuberLoss
from rvdlib.defenses.least_support import LeastSupport
from rvdlib.defenses.most_popular import MostPopular
from rvdlib.defenses.pca_detection import PCADetection
from rvdlib.defenses.profile_detection import ProfileDetection
from rvdlib.defenses.protocol import Chain, Defense, Served, defense
from rvdlib.defenses.quorum import Quorum, QuorumConfig
from rvdlib.defenses.regression import VicinalRegression
from rvdlib.defenses.remove_detected import RemoveDetected
from rvdlib.defenses.rvd import FineTuning
from rvdlib.defenses.triple_cooperative import TripleCooperative
from rvdlib.defenses.unobserved_weight import UnobservedWeight
from rvdlib.defenses.vicinal import RVD, RVDConfig

# By the names that params and tables use.
DEFENSES: dict[str, type[Defense] | type[Served]] = {
    "rvd": FineTuning,
    "adversarial_poisoning_training": AdversarialPoisoningTraining,
    "adversarial_training": AdversarialTraining,
    "blending": Blending,
    "closed_form": ClosedFormRVD,
    "count": Count,
    "edge_reweighting": EdgeReweighting,
    "huber_loss": HuberLoss,
    "least_support": LeastSupport,
    "pca_detection": PCADetection,
    "popularity": MostPopular,
    "profile_detection": ProfileDetection,
    "quorum": Quorum,
    "remove_detected": RemoveDetected,
    "triple_cooperative": TripleCooperative,
    "unobserved_weight": UnobservedWeight,
}

__all__ = [
    "DEFENSES",
    "RVD",
    "AdversarialPoisoningTraining",
    "AdversarialTraining",
    "Blending",
    "Chain",
    "CheckResult",
    "ClosedFormConfig",
    "ClosedFormRVD",
    "Count",
    "Defense",
    "EdgeReweighting",
    "FastRVD",
    "FineTuning",
    "FunctionalRVD",
    "FunctionalRVDConfig",
    "HuberLoss",
    "LeastSupport",
    "MostPopular",
    "PCADetection",
    "ProfileDetection",
    "Quorum",
    "QuorumConfig",
    "RVDConfig",
    "RemoveDetected",
    "Served",
    "TripleCooperative",
    "UnobservedWeight",
    "VicinalRegression",
    "VictimModule",
    "check_defender",
    "defense",
]
