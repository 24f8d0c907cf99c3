"""How easily is a recommender fooled, what helps, and what does it cost? On anybody's ratings.

report = document(audit(read_ratings("ratings.csv"), minutes=10))
write(report, Path("report"))
"""

from rvdlib.audit.report import document, write
from rvdlib.audit.run import Audit, End, audit
from rvdlib.audit.subject import ModelError

__all__ = ["Audit", "End", "ModelError", "audit", "document", "write"]
