"""What stands before the judge: limits of a key, privacy, erased people, registered schemas.

In this order: a request beyond its limit costs nothing more; addresses are cut before anything
can keep them; of suppressed people nothing is left, not even a dead letter; and only then are
messages refused, which keeps their originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from catalog.store import KeyOwner
from collector.limits import Limits, refuse_too_many_properties
from collector.privacy import Privacy, Sender
from collector.suppression import SuppressionList
from collector.validation import Validator
from transforms.candidates import Candidates
from transforms.failures import Reason


@dataclass(frozen=True)
class Passed:
    """What may go on. columns and flags hold for all of it, see transforms.judge.Origin."""

    candidates: Candidates
    columns: dict[str, Any]
    flags: int


@dataclass(frozen=True)
class Guard:
    """Judges by the policy of the key. Safe between threads."""

    limits: Limits
    privacy: Privacy
    people: SuppressionList
    validator: Validator
    max_event_bytes: int

    def check(
        self, candidates: Candidates, owner: KeyOwner, sender: Sender, body_bytes: int
    ) -> Passed:
        """Without what may not be kept, and with refusals."""
        policy = owner.policy
        enriched = self.privacy.enrich(candidates, sender, policy)
        if enriched.is_dropped:
            everything = frozenset(candidates.places) | candidates.refused.keys()
            return Passed(candidates.suppress(everything), {}, 0)
        kept = self.people.filter(enriched.candidates, owner.project)
        if body_bytes > self.max_event_bytes:  # else no event can be larger
            kept = _without_large(kept, self.max_event_bytes)
        kept = refuse_too_many_properties(kept, policy.max_properties)
        return Passed(self.validator.check(kept, owner), dict(enriched.columns), enriched.flags)


def _without_large(candidates: Candidates, most: int) -> Candidates:
    originals = candidates.originals()
    places = {*candidates.places, *candidates.refused}
    return candidates.refuse(
        {
            at: (Reason.EVENT_TOO_LARGE, f"{size:,} bytes; at most {most:,} an event")
            for at in places
            if (size := len(originals[at])) > most
        }
    )
