"""Cohorts: people who have something in common, by a rule that is kept and worked out anew.

`definition` reads rules, `evaluation` finds who meets them, `shelf` keeps both, `routes` has the
pages and the API. Every question takes a cohort's name in `cohort`.
"""
