"""A module to export, straight from a captioner that no run has trained."""

from export.cpu import FastEncoder
from export.module import Assets, CaptionModule
from export.searches import choose_searches
from imgcap.config import DecodeConfig
from imgcap.model.caption_graph import CaptionGraph
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import tf_variables


def make_module(
    captioner: Captioner,
    encoder: FastEncoder,
    options: DecodeConfig,
    assets: Assets,
    image_size: int = 32,
) -> CaptionModule:
    """Makes the module of a captioner without confidence, whose encoder sees square images."""
    graph = CaptionGraph(captioner, image_size, 50_000, None, encoder.encode)
    variables = [*encoder.variables, *tf_variables(captioner.decoder.variables)]
    return CaptionModule(graph, choose_searches(options, {}), variables, assets)
