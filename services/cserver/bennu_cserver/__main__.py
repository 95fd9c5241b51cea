"""`python -m bennu_cserver --app bank.app:app`."""

import sys

from bennu.ops.run import run_service
from bennu_cserver.settings import CServerSettings
from bennu_cserver.wiring import main

if __name__ == "__main__":
    sys.exit(run_service(CServerSettings, main))
