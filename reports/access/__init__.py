"""Who may do what: users, roles, tokens, sessions, and the log of what they did."""
