"""Runs tap-harvest, unchanged but for where Harvest is: launch.py API_URL ID_URL [the tap's own arguments].

Runs in the tap's own environment; its addresses are constants in its client module.
"""

import sys

import tap_harvest
import tap_harvest.client as client

api_url, id_url = sys.argv[1:3]
del sys.argv[1:3]
client.REFRESH_URL = f"{id_url}/api/v2"
as_made = client.Client.__init__


def at_another_address(self, config):
    as_made(self, config)
    self.base_url = api_url


client.Client.__init__ = at_another_address
tap_harvest.main()
