"""`python -m bennu_cserver --app bank.app:app`."""

from bennu.ops.run import leave, run_service
from bennu_cserver.settings import CServerSettings
from bennu_cserver.wiring import main

if __name__ == "__main__":
    leave(run_service(CServerSettings, main))
