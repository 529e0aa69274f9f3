"""The front: V7's requests come in here, and this file alone knows every room.

A request walks one way: its body and its image through ``gateway``, the image to one or both ``runners`` by way of a
batcher, and the faces found back as V7's answer, in the shapes of ``schemas``.
"""

import asyncio
import os
from typing import Any

import aiohttp
import bentoml
from bentoml._internal.utils.analytics import usage_stats
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import errors
from gateway.auth import Authenticator
from gateway.batcher import Batcher
from gateway.images import ImageLoader
from gateway.metrics import BATCH_ITEMS
from gateway.requests import read_infer_request, while_connected
from gateway.settings import Settings, SettingsError
from runners.faces import Failure, Item, Outcome
from runners.services import MAX_BATCH_SIZE, HaarRunner, LandmarksRunner, call
from schemas.classes import AnnotationClass, ClassTable
from schemas.v7 import InferRequest, InferResponse, Result

try:
    settings = Settings.from_environment()
except SettingsError as error:
    raise SystemExit(str(error)) from None

# No usage reports, also under a plain `bentoml serve`, which has asked once by now and remembers the answer.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # the word alone counts
usage_stats.do_not_track.cache_clear()


async def front(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every path that is not one of BentoML's own.

    A plain function: what BentoML takes for a Starlette application gets only the paths it knows, and the others would
    be answered in a form that V7 cannot read.
    """
    await bentoml.get_current_service().answer(scope, receive, send)


@bentoml.service(
    name="facebento",
    # The request's own deadline answers in V7's form, and comes first.
    traffic={"timeout": settings.deadline_s + 30},
)
@bentoml.asgi_app(front, path="/")
class FaceAnnotator:
    """Haar face boxes and MediaPipe face landmarks as external models for V7."""

    haar = bentoml.depends(HaarRunner)
    landmarks = bentoml.depends(LandmarksRunner)

    def __init__(self) -> None:
        table = ClassTable.named(face=settings.class_face, landmarks=settings.class_landmarks)
        self._models = {"haar": table.face, "landmarks": table.landmarks}
        self._batchers = {
            "haar": self._batcher("haar"),
            "landmarks": self._batcher("landmarks"),
        }
        self._images = ImageLoader(
            rules=settings.fetch_allow,
            max_bytes=int(settings.max_image_mb * 1e6),
            timeout_s=settings.fetch_timeout_s,
        )
        self._authenticator = Authenticator(
            users=[user.get_secret_value() for user in settings.auth_users],
            secrets=[secret.get_secret_value() for secret in settings.auth_secrets],
            secret_header=settings.auth_secret_header,
        )
        self._app = self._make_app()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # bentoml gives it no types
    async def close(self) -> None:
        """Close the connections to image hosts."""
        await self._images.close()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the credentials, then route: a stranger learns nothing of the paths, and has no body read."""
        if scope["type"] == "http":
            try:
                self._authenticator.check(Request(scope))
            except errors.Unauthorized as error:
                await errors.answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _batcher(self, model: str) -> Batcher[Item, Outcome]:
        async def send(items: list[Item]) -> list[Outcome]:
            return await call(getattr(self, model), items)

        async def is_ready() -> bool:
            try:
                return bool(await getattr(self, model).is_ready(1))
            except (TimeoutError, aiohttp.ClientError):
                return False

        return Batcher(
            send,
            is_ready=is_ready,
            max_batch_size=MAX_BATCH_SIZE,
            max_queue=settings.max_queue,
            observe=BATCH_ITEMS.labels(runner=model).observe,
        )

    def _make_app(self) -> Starlette:
        routes = [
            route
            for base, models in {
                "/api": ("haar", "landmarks"),
                "/api/haar": ("haar",),
                "/api/landmarks": ("landmarks",),
            }.items()
            for route in (self._infer_route(base, models), self._classes_route(base, models))
        ]
        handlers: dict[Any, Any] = {
            ClientDisconnect: _gone,
            errors.ServiceError: _failed,
            HTTPException: _failed,
            Exception: _failed,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app

    def _infer_route(self, base: str, models: tuple[str, ...]) -> Route:
        async def infer(request: Request) -> Response:
            deadline = asyncio.get_running_loop().time() + settings.deadline_s
            try:
                async with asyncio.timeout_at(deadline):
                    infer_request = await read_infer_request(request, int(settings.max_body_mb * 1e6))
                    results = await while_connected(request, self._annotate(infer_request, models, deadline))
            except TimeoutError:
                raise errors.DeadlineExceeded(f"no answer within {settings.deadline_s:g} s") from None
            body = InferResponse(status="succeeded", results=results).to_json()
            return Response(body, media_type="application/json")

        return Route(f"{base}/infer", infer, methods=["POST"])

    def _classes_route(self, base: str, models: tuple[str, ...]) -> Route:
        entries = [self._models[model].entry().model_dump() for model in models]

        async def classes(_: Request) -> Response:
            return JSONResponse(entries)

        return Route(f"{base}/classes", classes, methods=["GET"])

    async def _annotate(self, request: InferRequest, models: tuple[str, ...], deadline: float) -> list[Result]:
        item = Item(await self._images.load(request.image))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._batchers[model].submit(item, deadline)) for model in models]
        except ExceptionGroup as failures:  # the first one has cancelled the other
            raise failures.exceptions[0] from None
        return [
            result
            for model, task in zip(models, tasks, strict=True)
            for result in _results(self._models[model], task.result())
        ]


def _results(annotation_class: AnnotationClass, outcome: Outcome) -> list[Result]:
    if isinstance(outcome, Failure):
        raise errors.from_code(outcome.code, outcome.message)
    if annotation_class.layout is None:
        return [
            annotation_class.box(box, confidence)
            for box, confidence in zip(outcome.boxes_xywh, outcome.confidences, strict=True)
        ]
    return [
        annotation_class.skeleton(points, confidence, outcome.image_wh)
        for points, confidence in zip(outcome.points_xy, outcome.confidences, strict=True)
    ]


async def _gone(*_: object) -> Response:
    return Response(status_code=499)  # for the log alone: nobody is there to read it


async def _failed(_: Request, error: Exception) -> Response:
    return errors.answer(errors.from_exception(error))
