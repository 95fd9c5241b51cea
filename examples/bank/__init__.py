"""The example domain: accounts, and transfers between them that always end."""
