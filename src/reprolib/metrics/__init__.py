"""Numbers that describe a network or what training did to it."""
