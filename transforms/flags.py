"""Bits of an event's `flags`: what the intake corrected, so that every number can say so."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """One bit each."""

    CLOCK_CORRECTED = 1  # event_time = received - (sent - original): the device's clock was off
    CLAMPED = 2  # event_time lay after received_time and was set to it
    NO_TIME = 4  # the sender gave no time: event_time is received_time
    MADE_ID = 8  # the sender gave no id: a resend cannot be recognised
    BOT = 16  # a known crawler sent it, by the user agent of the request
    SCHEMA_MISMATCH = 32  # it does not fit its registered schema, and the source only warns
