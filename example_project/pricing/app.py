"""The application: `uvicorn example_project.pricing.app:app`. DEMO_CLIENT=bare takes httpx alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from example_project.observed import observe
from example_project.pricing import bare, quotes
from example_project.pricing.settings import CLIENT, PATIENCE, RESILIENT_HTTP
from resilient_http import Resilience
from resilient_http_fastapi import ResilientHttpMiddleware, dashboard, get_resilience

observe("pricing")
app = FastAPI(title="pricing", debug=True)

if CLIENT == "bare":
    app.include_router(bare.router)
else:
    app.add_middleware(ResilientHttpMiddleware, settings=RESILIENT_HTTP)
    app.include_router(quotes.router)
    dashboard(app)  # without a guard: in debug mode, for this machine alone

    @app.get("/status")
    async def status(resilience: Annotated[Resilience, Depends(get_resilience)]) -> dict[str, Any]:
        return resilience.status()


@app.get("/settings")
async def settings() -> dict[str, Any]:
    return {"httpx.AsyncClient": {"timeout": PATIENCE}} if CLIENT == "bare" else RESILIENT_HTTP
