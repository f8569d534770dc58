"""The live page of a process: what it shows, what can be done there, and how it is asked. See docs/live-page.md."""
