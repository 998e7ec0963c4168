"""Moderation: how harmful a text is, by category.  `service.py` first."""
