"""What a study raises for whoever runs it."""


class StudyError(Exception):
    """The study cannot go on; the message says what is wrong, where, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the message alone says it all."""
        return [f"{type(self).__name__}: {self}"]


class OtherStateError(StudyError):
    """Who would compute has other code, parameters or versions: nothing more is given to him."""
