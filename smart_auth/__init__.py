"""Who may do what: the SMART authorization server, and the accounts of people. A sibling of the store.

It owns the collections `auth.*` of a record's database. Whatever can be used once is claimed by one atomic command, and
secrets that it hands out are kept as their SHA-256 only.
"""
