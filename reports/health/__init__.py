"""Is the system well? Its parts, its jobs, and what it refused."""
