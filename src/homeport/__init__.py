"""Homeport: ship, watch, guard and recover web apps on your own machines."""

__version__ = "0.1.0"
