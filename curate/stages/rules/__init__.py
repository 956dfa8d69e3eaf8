"""Rule presets as data, and their evaluation over label columns; used by the stage ``quality_rules``."""
