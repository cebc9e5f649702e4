"""Imports every kind of question, which registers it."""

from reports.insights import before_after as before_after
from reports.insights import errors as errors
from reports.insights import funnels as funnels
from reports.insights import lifecycle as lifecycle
from reports.insights import paths as paths
from reports.insights import quality as quality
from reports.insights import retention as retention
from reports.insights import revenue as revenue
from reports.insights import stickiness as stickiness
from reports.insights import trends as trends
from reports.insights import vitals as vitals
