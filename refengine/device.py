"""The old name of refengine.devices, until every file uses the new one."""

import sys

from refengine import devices

sys.modules[__name__] = devices
