"""`python -m bennu_saga --app bank.app:app`."""

from bennu.ops.run import leave, run_service
from bennu_saga.settings import SagaSettings
from bennu_saga.wiring import main

if __name__ == "__main__":
    leave(run_service(SagaSettings, main))
