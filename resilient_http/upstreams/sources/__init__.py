"""Sources: where the nodes of an upstream are found out, one kind each; `upstreams/discovery.py` asks them."""
