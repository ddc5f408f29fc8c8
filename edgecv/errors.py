"""Every exception that edgecv raises on purpose, each with a builtin base.

Catch `EdgeCVError` for all of them, or the builtin for a kind. The command line turns them into one
line and the exit code that the class carries.
"""

from __future__ import annotations


class EdgeCVError(Exception):
    """Base of all errors of edgecv. `exit_code` is what the command line returns for it."""

    exit_code = 2


class InputError(EdgeCVError, ValueError):
    """An argument with a wrong value, shape or dtype."""


class MediaError(EdgeCVError, ValueError):
    """An image, video or stream that cannot be read, or is damaged."""


class MediaNotFoundError(MediaError, FileNotFoundError):
    """A source that does not exist."""


class OutputError(EdgeCVError, OSError):
    """An output that cannot be written."""


class ModelFileError(EdgeCVError, ValueError):
    """A model file that is damaged, or is not what its name says."""


class ModelNotFoundError(EdgeCVError, FileNotFoundError):
    """No model, card or file of that name."""


class ChecksumError(ModelFileError):
    """A file whose size or sha256 is not the one that its card states, or a damaged member of a container."""


class CardError(EdgeCVError, ValueError):
    """A model card that does not follow the schema; the message names the field."""


class HeadError(EdgeCVError, ValueError):
    """Outputs that the head cannot read, or a model whose head is in doubt."""


class NoPictureError(HeadError):
    """A network that no picture can feed, where a card is wanted that says how one does."""


class UnavailableError(EdgeCVError, RuntimeError):
    """What was asked for exists, but not on this machine."""

    exit_code = 3


class BackendUnavailableError(UnavailableError):
    """The backend is not usable here; the message says why."""


class PlacementError(UnavailableError):
    """The backend would run somewhere other than what was asked for."""


class DisagreementError(PlacementError):
    """Two backends give different results for a network, and nothing says which of them is right."""


class MissingExtraError(UnavailableError, ImportError):
    """A library of an optional extra is not installed; the message carries the pip command."""


class BackendError(EdgeCVError, RuntimeError):
    """The backend failed while it compiled or ran a model."""


class UnsupportedOperatorError(BackendError):
    """A model with an operator, or a form of one, that the backend does not run; the message names the node.

    reason: the kind of it, in a few words.
    """

    def __init__(self, message: str, reason: str = "form") -> None:
        super().__init__(message)
        self.reason = reason


class SessionBusyError(BackendError):
    """A second run on a session that is running: a session belongs to one thread at a time."""


class DeadlineError(EdgeCVError, TimeoutError):
    """A run that ended because its deadline passed; there is no result."""

    exit_code = 1


class CancelledError(EdgeCVError, RuntimeError):
    """A run that another thread cancelled; there is no result."""

    exit_code = 130


class DatasetError(EdgeCVError, ValueError):
    """A dataset whose annotations or images do not fit together."""
