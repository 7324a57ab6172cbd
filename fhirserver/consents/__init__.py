"""What patients' Consents and security labels say about who may see what, as values; no I/O."""
