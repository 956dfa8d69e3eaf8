"""How the samples are made: page sources, site skins, archive records."""
