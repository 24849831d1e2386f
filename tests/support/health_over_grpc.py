"""A real gRPC server (grpcio) that speaks grpc.health.v1 as a test tells it to, by lines on its
standard input; it answers each with a line. Ends with its input.

Not named grpc_health.py: grpcio imports whatever has that name.

usage: health_over_grpc.py ADDRESS [CERTIFICATE KEY]
  set NAME NUMBER   the status of a service from now on ("-": of the whole server)
  watch off | on    whether Watch is offered, from now on
  stop SECONDS      goes away in order, as in a deployment
"""
import sys
import threading
from concurrent import futures

import grpc

changed = threading.Condition()
statuses = {b"": 1}
offers_watch = True
running = True


def service_of(request):
    return request[2:] if request else b""


def response(status):
    return b"" if status == 0 else bytes([8, status])


def check(request, context):
    with changed:
        status = statuses.get(service_of(request))
    if status is None:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return response(status)


def watch(request, context):
    if not offers_watch:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not offered")
    told = None
    while running and context.is_active():
        with changed:
            status = statuses.get(service_of(request), 3)
            if status == told:
                changed.wait(0.2)
                continue
        told = status
        yield response(status)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
    "Check": grpc.unary_unary_rpc_method_handler(check),
    "Watch": grpc.unary_stream_rpc_method_handler(watch),
}),))
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as certificate, open(sys.argv[3], "rb") as key:
        secrets = grpc.ssl_server_credentials([(key.read(), certificate.read())])
    bound = server.add_secure_port(sys.argv[1], secrets)
else:
    bound = server.add_insecure_port(sys.argv[1])
if bound == 0:
    sys.exit("cannot listen on " + sys.argv[1])
server.start()
print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    with changed:
        if words[0] == "set":
            statuses[b"" if words[1] == "-" else words[1].encode()] = int(words[2])
        elif words[0] == "watch":
            offers_watch = words[1] == "on"
        changed.notify_all()
    if words[0] == "stop":
        running = False
        server.stop(float(words[1])).wait()
    print("done", flush=True)
running = False
server.stop(0)
