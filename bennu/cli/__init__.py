"""One command, `bennu`.  It starts services as processes and never imports them."""
