"""Lines and paragraphs that many documents share, counted exactly or by a filter."""
