"""SQL for people and programs: page, jobs with progress, saved queries, and what the API is."""
