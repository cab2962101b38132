"""Where a Stable Diffusion autoencoder lies: a file, a folder of diffusers' layout, or a model hub id.

No id is built in: which mirror is used is the caller's choice.
"""

from __future__ import annotations

import re
from pathlib import Path

from onedc.errors import MissingExtraError, WeightsError

_STEM = "diffusion_pytorch_model"
_PLACES = tuple(folder + _STEM + suffix for suffix in (".safetensors", ".bin") for folder in ("vae/", ""))
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_vae(place: str) -> Path:
    """The weights file of an autoencoder.

    Args:
        place: a file, a folder (of a whole diffusers model or of its vae), or a hub id such as OWNER/NAME.

    Raises:
        WeightsError: nothing there.
        MissingExtraError: a hub id, and huggingface-hub is not installed.
    """
    path = Path(place)
    if path.is_file():
        return path
    if path.is_dir():
        for name in _PLACES:
            if (path / name).is_file():
                return path / name
        raise WeightsError(f"{place}: no {_STEM}.safetensors or .bin in this folder or its vae/")
    if _HUB_ID.fullmatch(place):
        return _fetch(place)
    raise WeightsError(f"{place}: no such file or folder, and not a hub id of the form OWNER/NAME")


def _fetch(hub_id: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("hub ids need one more package: pip install huggingface-hub") from error
    for name in _PLACES:
        try:
            return Path(hf_hub_download(hub_id, name))
        except LocalEntryNotFoundError as error:
            raise WeightsError(
                f"{hub_id}: not on this machine, and the model hub cannot be reached"
            ) from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(f"{hub_id}: not to be had from the model hub: {reason}") from error
    raise WeightsError(f"{hub_id}: holds no {_STEM}.safetensors or .bin, at its top or in vae/")
