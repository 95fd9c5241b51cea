"""`python -m bennu_saga --app bank.app:app`."""

import sys

from bennu.ops.run import run_service
from bennu_saga.settings import SagaSettings
from bennu_saga.wiring import main

if __name__ == "__main__":
    sys.exit(run_service(SagaSettings, main))
