"""The version of milsurv."""

__version__ = "0.2.0"
