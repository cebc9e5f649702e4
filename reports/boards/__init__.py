"""Dashboards: definitions that people save, panels that are asked, links that show one board.

A board is data (`definition`), asking a panel is `panels.Panels`, and pages and API are `routes`.
"""
