"""Spans of text that occur more than once in a corpus, found exactly and out of core."""
