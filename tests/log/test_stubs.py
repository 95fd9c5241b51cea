"""RocketMQ's stubs are taken from the official wheel without running the rest of it."""

import subprocess
import sys


def test_importing_the_stubs_leaves_no_half_made_package_behind() -> None:
    """Who imports the official client later gets the whole of it."""
    code = (
        "import sys, bennu.log.rocketmq.stubs;"
        "assert 'rocketmq' not in sys.modules and 'rocketmq.grpc_protocol' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # other tests may have imported anything here
