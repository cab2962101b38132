"""The routes: POST /encode, /decode and /read take the bytes of a file and answer with a file.

GET /status says how busy the server is. Refusals are JSON, {"detail": "one line"}: 400 for what was sent, 413
for its size, 503 for a full queue.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from onedc.container.side_data import DESCRIPTION
from onedc.errors import ConfigError, OneDCError
from onedc.image import image_bytes
from onedc.serve.service import BusyError, Service, TooLargeError
from onedc.target_size import DEFAULT_QUALITY

ONEDC_TYPE = "image/x-1dc"
_ANY_TYPE = "application/octet-stream"
_MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_STATUS: dict[type[Exception], int] = {TooLargeError: 413, BusyError: 503}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not a usable picture or file; `detail` says why in one line"},
    413: {"description": "Too many bytes"},
    503: {"description": "The queue is full"},
}
_router = APIRouter()


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the routes over a service, and the form of their refusals."""
    app.state.service = service
    app.include_router(_router)
    app.add_exception_handler(OneDCError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_query)


async def _known_fields(request: Request) -> None:
    """Raise ConfigError for a field that would else be ignored."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(request.query_params.keys() - known)
    if unknown:
        raise ConfigError(f"unknown field {', '.join(unknown)}; there are {', '.join(sorted(known))}")


async def _service(request: Request) -> Service:
    return request.app.state.service


_Service = Annotated[Service, Depends(_service)]


async def _body(request: Request, service: _Service) -> bytes:
    """The whole body, given up as soon as it is too large.

    Raises:
        ConfigError: a form, as curl -F sends it.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise ConfigError("the body is a form; send the file itself, with curl by --data-binary @FILE")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        service.check_size(len(data))
    return bytes(data)


_Body = Annotated[bytes, Depends(_body)]
_Background = Annotated[
    str | None, Query(description="CSS colour for under transparent places, which are refused without")
]


def _post(path: str, *, takes: str, gives: tuple[str, ...]) -> Any:
    """A route described in the OpenAPI page as one file in, one file out."""
    body = {"required": True, "content": {takes: _BINARY}}
    answer = {"description": "The file", "content": dict.fromkeys(gives, _BINARY)}
    return _router.post(
        path,
        dependencies=[Depends(_known_fields)],
        response_class=Response,
        responses={200: answer, **_REFUSALS},
        openapi_extra={"requestBody": body},
    )


@_post("/encode", takes=_ANY_TYPE, gives=(ONEDC_TYPE,))
def encode(
    service: _Service,
    picture: _Body,
    quality: Annotated[
        float | None,
        Query(ge=0, le=100, description=f"0 (smallest) to 100; {DEFAULT_QUALITY:g} if absent"),
    ] = None,
    target_bytes: Annotated[
        int | None, Query(gt=0, description="instead: the highest quality whose file has at most so many")
    ] = None,
    background: _Background = None,
    effort: Annotated[
        int, Query(ge=0, le=9, description="above 0: takes longer, for a better picture at the same bits")
    ] = 0,
) -> Response:
    """A picture file (JPEG, PNG, WebP, ...) in the body to a .1dc file."""
    if quality is not None and target_bytes is not None:
        raise ConfigError("give quality or target_bytes, not both")
    file, seconds = service.encode(
        picture,
        quality=DEFAULT_QUALITY if quality is None else quality,
        target_bytes=target_bytes,
        background=background,
        effort=effort,
    )
    return Response(file, media_type=ONEDC_TYPE, headers=_timing(seconds))


@_post("/decode", takes=ONEDC_TYPE, gives=tuple(_MEDIA_TYPES.values()))
def decode(
    service: _Service,
    file: _Body,
    picture_format: Annotated[Literal["png", "webp", "jpg"], Query(alias="format")] = "png",
    preview: Annotated[bool, Query(description="the semantic layer alone")] = False,
    partial: Annotated[bool, Query(description="what is whole of a file that was cut, unverified")] = False,
    full_size: Annotated[bool, Query(description="at the original's size, if it was shrunk")] = False,
) -> Response:
    """A .1dc file in the body to a picture; png and webp are lossless.

    The header Onedc-Note says who made up its details, and from how much of the file."""
    picture, seconds = service.decode(file, preview=preview, partial=partial, full_size=full_size)
    headers = {**_timing(seconds), "Onedc-Note": picture.info[DESCRIPTION]}
    data = image_bytes(picture, f".{picture_format}")
    return Response(data, media_type=_MEDIA_TYPES[picture_format], headers=headers)


@_post("/read", takes=_ANY_TYPE, gives=(_MEDIA_TYPES["png"],))
def read(service: _Service, picture: _Body, background: _Background = None) -> Response:
    """A picture file in the body as /encode sees it: upright, in sRGB, opaque; a PNG."""
    pixels = service.read(picture, background=background)
    return Response(image_bytes(pixels), media_type=_MEDIA_TYPES["png"])


@_router.get("/status")
async def status(service: _Service) -> dict[str, int]:
    """Jobs that wait or run, how many may, limits on what is sent, and how many qualities there are."""
    return {"jobs": service.jobs, "qualities": service.qualities, **asdict(service.limits)}


def _timing(seconds: float) -> dict[str, str]:
    """The header that says how long the codec took."""
    return {"Server-Timing": f"codec;dur={1000 * seconds:.1f}"}


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=_STATUS.get(type(error), 400))


async def _refuse_query(request: Request, error: Exception) -> Response:
    """The answer to a query that does not fit its description."""
    assert isinstance(error, RequestValidationError)
    texts = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
    return JSONResponse({"detail": "; ".join(texts)}, status_code=400)
