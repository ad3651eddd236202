"""Figures for papers and notebooks: functions from arrays to a matplotlib figure.

Arrays may be NumPy's or torch's. No model is needed, and torch need not be installed. The results of the
analyses (`gatewise.ledger` and so on) have attributes with the names of the arguments here.

>>> from gatewise import figures
>>> figure = figures.draw_words("not bad at all".split(), [-0.4, 0.6, 0.1, 0.1])
>>> figures.save_figure(figure, "words.svg")  # doctest: +SKIP
>>> type(figure).__name__
'Figure'
"""

from gatewise.extras import needed_by

with needed_by("gatewise.figures"):
    from gatewise.insight.figures.contrast import draw_contrast
    from gatewise.insight.figures.dynamics import draw_eigenvalues, draw_fixed_points, draw_lyapunov
    from gatewise.insight.figures.flow import (
        FlowPanel,
        draw_connectivity,
        draw_flow,
        draw_flows,
        draw_jacobians,
    )
    from gatewise.insight.figures.forecasts import Example, draw_forecasts
    from gatewise.insight.figures.gates import Panel, draw_gates
    from gatewise.insight.figures.inputs import draw_attribution, draw_decomposition, draw_words
    from gatewise.insight.figures.memory import draw_half_life, draw_ledger, draw_saturation
    from gatewise.insight.figures.style import save_figure, short
    from gatewise.insight.figures.units import draw_match, draw_probe, draw_ranking

__all__ = [
    "Example", "FlowPanel", "Panel",
    "draw_forecasts", "draw_gates",
    "draw_ledger", "draw_half_life", "draw_saturation",
    "draw_flow", "draw_flows", "draw_jacobians", "draw_connectivity",
    "draw_attribution", "draw_words", "draw_decomposition",
    "draw_match", "draw_probe", "draw_ranking",
    "draw_fixed_points", "draw_eigenvalues", "draw_lyapunov",
    "draw_contrast",
    "save_figure", "short",
]  # fmt: skip
