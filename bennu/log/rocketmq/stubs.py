"""RocketMQ's gRPC stubs, taken from the official wheel without running the rest of it.

Importing the package `rocketmq` closes the application's log handlers, makes `~/logs`, and fails where HOME cannot be
written.  So a bare module stands in its place while its generated code is imported.  Afterwards the bare module is
removed: who wants the official client may import it, and it meets the same generated modules.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def _load() -> tuple[Any, Any, Any]:  # Any: generated code that comes without types
    bare = None
    if "rocketmq" not in sys.modules:
        spec = importlib.util.find_spec("rocketmq")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("the wheel rocketmq-python-client is not installed")
        bare = ModuleType("rocketmq")
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules["rocketmq"] = bare
    try:
        package = "rocketmq.grpc_protocol"
        names = ("definition_pb2", "service_pb2", "service_pb2_grpc")
        definition, service, stubs = (importlib.import_module(f"{package}.{name}") for name in names)
    finally:
        if bare is not None:
            del sys.modules["rocketmq"]
    return definition, service, stubs


definition, service, stubs = _load()
