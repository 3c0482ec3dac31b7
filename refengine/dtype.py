"""The old name of refengine.dtypes, until every file uses the new one."""

import sys

from refengine import dtypes

sys.modules[__name__] = dtypes
