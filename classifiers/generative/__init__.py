"""Raters that are language models: how each is asked, and what its answers mean."""
