"""The consumer's small HTTP side: is it there, is it well, what has it done.  Takes no work."""

from collections.abc import Callable

import falcon.asgi

from appliance.transport.health import HealthResource, MetricsResource, ReadyResource, Report
from appliance.transport.middleware import ASGIApp


def build_consumer_app(ready: Report, metrics: Callable[[], bytes]) -> ASGIApp:
    """`/healthz`, `/health`, `/ready`, `/metrics`."""
    app: falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response] = falcon.asgi.App()
    for path in ("/healthz", "/health"):
        app.add_route(path, HealthResource())
    app.add_route("/ready", ReadyResource(ready))
    app.add_route("/metrics", MetricsResource(metrics))
    return app
