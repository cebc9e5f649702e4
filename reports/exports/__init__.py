"""Exports: results and raw rows as files with a manifest; jobs, downloads, schedules."""
