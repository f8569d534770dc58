"""Documents: where settings from afar are kept, one kind of place each; `upstreams/follower.py` asks them.

A source gives a document as it is kept: a text, a mapping, or None where there is none.
"""
