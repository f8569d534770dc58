"""The tests: the folders mirror the source; `live` holds the servers that tests talk to over real sockets."""
