"""How to call an app that runs here, ready to paste."""

import json
import shlex
from collections.abc import Iterator

from google.protobuf import json_format

from bennu.cli.sagas_options import HERE
from bennu.domain.app import App


def python_example(app: App, grpc: str) -> Iterator[str]:
    """A program that sends the app's example."""
    if app.example is None:
        return
    method = app.methods[app.example.DESCRIPTOR.full_name]
    kind, service = app.example.DESCRIPTOR, app.service
    fields = ", ".join(f"{field.name}={value!r}" for field, value in app.example.ListFields())
    service_module = _module(service.file.name, "_pb2_grpc")
    yield "import grpc"
    yield f"from {service_module.rpartition('.')[0]} import {service_module.rpartition('.')[2]}"
    yield f"from {_module(kind.file.name, '_pb2')} import {kind.name}"
    yield ""
    yield f'with grpc.insecure_channel("{grpc}") as channel:'
    yield f"    stub = {service_module.rpartition('.')[2]}.{service.name}Stub(channel)"
    yield f"    print(stub.{method.name}({kind.name}({fields}), timeout=5))"


def grpcurl_example(app: App, grpc: str) -> str:
    """The same on the command line; without an example, what there is to call."""
    if app.example is None:
        return f"grpcurl -plaintext {grpc} describe {app.service.full_name}"
    method = app.methods[app.example.DESCRIPTOR.full_name]
    content = json.dumps(json_format.MessageToDict(app.example, preserving_proto_field_name=True))
    return f"grpcurl -plaintext -d {shlex.quote(content)} {grpc} {app.service.full_name}/{method.name}"


def psql_example(app: App, dsn: str) -> str:
    """The first table of the app."""
    tables = [table.name for projection in app.projections for table in projection.tables]
    command = ["psql", dsn, *(["-c", f"TABLE {app.name}.{tables[0]}"] if tables else [])]
    return shlex.join(command)


def sagas_example(admin: str) -> str:
    """Whatever is under way; the address only if it is not the one that is looked for."""
    return "bennu sagas list" + ("" if admin == HERE else f" --admin {admin}")


def _module(proto: str, suffix: str) -> str:
    return proto.removesuffix(".proto").replace("/", ".") + suffix
