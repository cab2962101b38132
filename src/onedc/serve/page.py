"""The page for people: drop a photo or a .1dc file, see what the codec keeps of it, take the files home.

Gradio draws it. Its files lie in the server's temporary folder, which the server sweeps.
"""

from __future__ import annotations

import html
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from onedc.container.header import begins_file
from onedc.container.info import info
from onedc.errors import OneDCError
from onedc.image import RGBArray, image_bytes
from onedc.rate import DEFAULT_QUALITY
from onedc.serve.service import Decoded, Service

_HEAD = """\
# onedc
A photo in a few hundred bytes to a few kilobytes, and drawn again from them.
Fine details in a decoded picture are generated: plausible, not evidence.
"""
_PROGRAMS = """\
`POST /encode` and `POST /decode` take and give whole files:

```sh
curl --data-binary @photo.jpg 'ADDRESS/encode?quality=40' -o photo.1dc
curl --data-binary @photo.1dc 'ADDRESS/decode' -o photo.png
```
[All of it](docs)
"""
_CSS = """\
.gradio-container { max-width: 1280px !important; margin: 0 auto; }
#facts dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 14px; }
#facts dl > div { min-width: 0; }
#facts dt, #facts small { font-size: 13px; font-weight: 400; color: var(--body-text-color-subdued); }
#facts dd { margin: 0; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }
#facts small { display: block; }
"""

QUALITY, BYTES = "quality", "bytes"


@dataclass(frozen=True)
class Shown:
    """What the page has to show for one file."""

    left: RGBArray | Image.Image  # the original; of a .1dc file its semantic layer
    left_name: str
    decoded: Image.Image
    preview: Image.Image  # the semantic layer
    data: bytes
    facts: tuple[tuple[str, str, str], ...]  # name, value, remark


def mount_page(app: Any, service: Service) -> Any:
    """Put the page at "/" of a FastAPI application."""
    blocks = make_page(service)
    blocks.queue(max_size=service.limits.queue, default_concurrency_limit=1, api_open=False)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        max_file_size=service.limits.upload_bytes,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=_CSS,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
    )


def make_page(service: Service) -> gr.Blocks:
    """The page, not yet served."""

    def choose(by: str) -> tuple[Any, Any]:
        return gr.update(visible=by == QUALITY), gr.update(visible=by == BYTES)

    def show(path: str | None, by: str, q: float, n: float, colour: str) -> tuple[Any, ...]:
        if path is None:
            raise gr.Error("Drop a photo or a .1dc file first.", print_exception=False)
        return _outputs(_run(service, Path(path), q if by == QUALITY else None, int(n or 0), colour), path)

    with gr.Blocks(title="onedc", analytics_enabled=False) as blocks:
        gr.Markdown(_HEAD)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload, spend, quality, target, background, button = _controls()
            with gr.Column(scale=3, min_width=420):
                results = _results()
        spend.change(choose, spend, [quality, target], queue=False, api_visibility="private")
        gr.on(
            [upload.upload, button.click],
            show,
            [upload, spend, quality, target, background],
            results,
            show_progress_on=results[0],
            api_visibility="private",
        )
    return blocks


def _controls() -> tuple[Any, ...]:
    """Upload, what to choose by, quality, bytes, background, and the button."""
    upload = gr.File(label="Photo, or .1dc file to decode", height=150, elem_id="upload")
    by = [("Quality", QUALITY), ("Size in bytes", BYTES)]
    spend = gr.Radio(by, value=QUALITY, label="Choose by")
    info = "0: the semantic layer alone"
    quality = gr.Slider(0, 100, DEFAULT_QUALITY, step=1, label="Quality", info=info)
    label = "At most so many bytes"
    target = gr.Number(3000, precision=0, minimum=1, label=label, visible=False, elem_id="target")
    background = gr.Dropdown(["white", "black"], label="Colour under transparent places")
    button = gr.Button("Encode", variant="primary", elem_id="run")
    with gr.Accordion("For programs", open=False):
        gr.Markdown(_PROGRAMS)
    return upload, spend, quality, target, background, button


def _results() -> list[Any]:
    """Slider, facts, the two download buttons and the preview."""
    picture = {"type": "filepath", "interactive": False, "buttons": ["fullscreen"]}
    slider = gr.ImageSlider(label="Original | decoded", max_height=500, elem_id="slider", **picture)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            facts = gr.HTML(elem_id="facts")
            with gr.Row():
                get_file = gr.DownloadButton("Download .1dc", interactive=False, elem_id="get-1dc")
                get_picture = gr.DownloadButton("Download PNG", interactive=False, elem_id="get-png")
        preview = gr.Image(label="Semantic layer alone", height=240, elem_id="preview", **picture)
    return [slider, facts, get_file, get_picture, preview]


def _run(service: Service, path: Path, quality: float | None, target_bytes: int, background: str) -> Shown:
    """Encode and decode a photo, or decode a .1dc file; refusals become messages on the page."""
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".1dc" or begins_file(data):
            return _decode(service, data)
        return _encode(service, data, quality, target_bytes, background)
    except OneDCError as error:
        message = html.escape(f"{path.name}: {str(error).removeprefix('picture: ')}")
        raise gr.Error(message, duration=None, print_exception=False) from error


def _encode(
    service: Service, picture: bytes, quality: float | None, target_bytes: int, background: str
) -> Shown:
    if quality is None:
        encoded = service.encode(picture, target_bytes=target_bytes, background=background)
    else:
        encoded = service.encode(picture, quality=quality, background=background)
    decoded = service.decode(encoded.data, full_size=True)
    preview = service.decode(encoded.data, preview=True, full_size=True)
    ratio = len(picture) / len(encoded.data)
    facts = (
        *_facts(encoded.data),
        ("shrunk", f"{ratio:,.1f} times", f"from {len(picture):,} bytes"),
        ("encoding", f"{encoded.seconds:.2f} s", ""),
        _decoding(decoded),
    )
    return Shown(encoded.original, "Original", decoded.picture, preview.picture, encoded.data, facts)


def _decode(service: Service, data: bytes) -> Shown:
    decoded = service.decode(data)
    preview = service.decode(data, preview=True)
    facts = (*_facts(data), _decoding(decoded))
    return Shown(preview.picture, "Semantic layer", decoded.picture, preview.picture, data, facts)


def _facts(data: bytes) -> tuple[tuple[str, str, str], ...]:
    found = info(data)
    return (
        ("file", f"{found.size_bytes:,} bytes", ""),
        ("rate", f"{found.bpp:.4f} bpp", "bits per pixel"),
        ("picture", f"{found.width} x {found.height}", "pixels"),
        ("quality", f"{found.quality:g}", "of 100"),
    )


def _decoding(decoded: Decoded) -> tuple[str, str, str]:
    return "decoding", f"{decoded.seconds:.2f} s", ""


def _outputs(shown: Shown, source: str) -> tuple[Any, ...]:
    """Values for slider, facts, the two download buttons and the preview."""
    folder = Path(tempfile.mkdtemp(dir=Path(source).parent))
    stem = Path(source).stem
    files = {
        f"{stem}.1dc": shown.data,
        f"{stem}.png": image_bytes(shown.decoded),
        "left.png": image_bytes(shown.left),
        "preview.png": image_bytes(shown.preview),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    code, picture, left, preview = (str(folder / name) for name in files)
    cards = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{remark}</small></dd></div>"
        for name, value, remark in shown.facts
    )
    return (
        gr.update(value=(left, picture), label=f"{shown.left_name} | decoded"),
        f"<dl>{cards}</dl>",
        gr.update(value=code, interactive=True),
        gr.update(value=picture, interactive=True),
        preview,
    )
