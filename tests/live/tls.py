"""A certificate authority of the tests' own, and the contexts that trust it or are trusted by it."""

import ssl
from pathlib import Path

import trustme


class TlsAuthority:
    """Signs for any name.

    Attributes:
        ca_file: The authority's certificate as a PEM file, for settings that name a file.
    """

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A fresh context for a server that is called by these host names or addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def server_files(self, folder: Path, *names: str) -> tuple[Path, Path]:
        """A certificate chain and its key as PEM files, for servers that read files."""
        issued = self._ca.issue_cert(*names)
        chain, key = folder / "chain.pem", folder / "key.pem"
        issued.private_key_pem.write_to_path(str(key))
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(chain), append=True)
        return chain, key

    def client_context(self) -> ssl.SSLContext:
        """A fresh context for a client that trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context
