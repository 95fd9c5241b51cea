"""`python -m bennu_qserver --app bank.app:app`, with the database in BENNU_POSTGRES."""

from bennu.ops.run import leave, run_service
from bennu_qserver.settings import QServerSettings
from bennu_qserver.wiring import main

if __name__ == "__main__":
    leave(run_service(QServerSettings, main))
