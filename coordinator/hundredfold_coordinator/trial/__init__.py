"""Trials: the same tasks under several strategies, or more and more of them; what was measured, and how it looks."""
