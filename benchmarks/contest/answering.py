"""How the bare servers serve, and say where."""

import json

import grpc


async def serve(handlers: grpc.GenericRpcHandler) -> None:
    """Until the process is ended; the address stands in the one line that is printed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()
