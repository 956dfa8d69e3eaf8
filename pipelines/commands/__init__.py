"""One file per command of the command line; each returns an ``Answer`` and prints nothing itself."""
