"""The version of milsurv."""

__version__ = "0.3.0"
