"""Product analytics: a question about a project's events in, a table with its meaning out.

Each kind of question (trends, funnels, retention, …) is one module that registers a `Kind`. The
page, the API, dashboards, exports and saved questions go through `ask` and know no kind by name.
"""
