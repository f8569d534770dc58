"""The subcommands of resilient-http; see cli.py."""
