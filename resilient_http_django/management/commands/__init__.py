"""resilient_http.py is the command; what it can do are subcommands of it, a class each."""
