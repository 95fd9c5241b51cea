"""Programs for people who work on Bennu; nothing that is installed imports them."""
