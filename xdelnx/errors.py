"""The warning class of the package, so that one filter silences or raises all of them."""


class XdelnxWarning(UserWarning):
    """Something in the data deserves a look; the result is still what was asked for."""
