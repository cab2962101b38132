"""COCO's captioned photos, by the layout they come in: annotations/captions_NAME.json beside NAME/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from onedc.errors import ConfigError


class CocoSource:
    """Photos of one COCO split; of an image's captions the one with the lowest id, always."""

    parts: Sequence[int] = ()

    def __init__(self, folder: Path) -> None:
        """Read the one captions file of `folder`; of several, that of the validation split.

        Raises:
            ConfigError: there is none, or it is not of COCO's schema.
        """
        found = sorted(folder.glob("annotations/captions_*.json"))
        chosen = [f for f in found if "val" in f.name] if len(found) > 1 else found
        if not chosen:
            raise ConfigError(f"data: {folder} has no annotations/captions_*.json of COCO")
        self._images = folder / chosen[0].stem.removeprefix("captions_")
        try:
            notes = json.loads(chosen[0].read_text(encoding="utf-8"))
            names = {int(image["id"]): str(image["file_name"]) for image in notes["images"]}
            said = sorted((int(a["id"]), int(a["image_id"]), str(a["caption"])) for a in notes["annotations"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"data: {chosen[0]} is not of COCO's schema ({error})") from error
        captions = {image: caption.strip() for _, image, caption in reversed(said)}
        self.names = sorted(names.values())
        self._captions = {name: captions.get(image, "") for image, name in names.items()}

    def read(self, index: int) -> bytes:
        return (self._images / self.names[index]).read_bytes()

    def caption(self, index: int) -> str:
        return self._captions[self.names[index]]
