"""The processes of one service: who is there, who leads what, who should."""
