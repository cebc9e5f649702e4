"""What people configured: settings, projects, sources, write keys. Events live elsewhere."""
