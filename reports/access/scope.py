"""Whether a caller may see numbers of all projects together."""

from __future__ import annotations

from reports.access.parts import access, caller


def sees_all_projects() -> bool:
    """An admin of everything does; where there is one project only, everybody, for it is theirs.

    A token is never admin of everything, whoever made it.
    """
    return caller().is_admin or len(access().every_project()) < 2
