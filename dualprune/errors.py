"""The library's exceptions: a `UserError` is shown by the CLI without a traceback, with exit code 2."""


class DualpruneError(Exception):
    """Base of every error that the library raises on purpose."""


class UserError(DualpruneError, ValueError):
    """The caller's input is at fault; the message names the thing, its value, what was expected and what to do."""


class ConfigError(UserError):
    """A configuration key or value is wrong."""


class MissingPluginError(ConfigError):
    """A configuration names a plug-in that is not installed here."""


class DataError(UserError):
    """The training data or the recorded statistics are wrong."""


class AddressError(UserError):
    """The file system of an address is not known or cannot be reached."""


class StorageError(UserError, OSError):
    """A file or folder cannot be read or written."""


class RunError(UserError):
    """The run directory is not in the state that the command needs."""


class RunBusyError(RunError):
    """Another process writes the run directory."""
